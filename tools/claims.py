"""Write docs/results/claims.csv: what README claims, judged on every corpus that has results.

`python -m tools.claims` reads metrics/ (the default corpus) and the folders of docs/results/ (see `tools.recorded`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from phonoscope import paths
from phonoscope.files import write_csv
from phonoscope.pipeline.aside import reason_in
from phonoscope.report.verdict import Estimate, judge
from tools.imports import ROOT
from tools.recorded import RESULTS

COLUMNS = ["claim", "corpus", "verdict", "value", "low", "high", "bound", "n", "unit", "runs"]
WORDS = {"supported": "holds", "refuted": "does not hold", "undecided": "undecided"}
SITE = "encoder_3"


@dataclass(frozen=True)
class Claim:
    """A sentence of README and where its number stands."""

    text: str
    file: str
    """Below metrics/."""
    row: dict[str, str]
    """Columns of the file with the value that the claim's row has; a value that ends in `*` is a beginning."""
    n: Callable[[Path], int]
    unit: str
    runs: int
    """Independent trainings behind the number."""

    def judged(self, metrics: Path) -> dict[str, Any]:
        table = pd.read_csv(metrics / self.file)
        for column, value in self.row.items():
            start = value.removesuffix("*")
            text = table[column].astype(str)
            table = table[text.str.startswith(start) if value.endswith("*") else text == value]
        return {str(name): value for name, value in table.iloc[0].items()} if len(table) else {}


def value_of(file: str, metric: str) -> Callable[[Path], int]:
    """A number of a table with the columns metric and value."""
    return lambda metrics: int(pd.read_csv(metrics / file).set_index("metric")["value"][metric])


def _compared_words(metrics: Path) -> int:
    rows = pd.read_csv(metrics / "encoder-report/differences.csv").query(
        "encoder == 'mel' and metric == 'accuracy_word'"
    )
    return int(rows["n"].iloc[0])


eval_utterances = value_of("split.csv", "eval")


def _probed(text: str, claim: str, codec: str) -> Claim:
    row = {"claim": claim, "codec": codec}
    return Claim(text, "compare/verdicts.csv", row, eval_utterances, "utterances", runs=1)


CLAIMS = (
    _probed(
        "Distillation makes phones more decodable at RVQ layer 1 (ratio of macro-F1)",
        "phone macro-F1: distilled over undistilled",
        "speechtokenizer",
    ),
    _probed(
        "It makes speakers more decodable there (ratio of macro-F1)",
        "speaker macro-F1: distilled over undistilled",
        "speechtokenizer",
    ),
    _probed("No layer of EnCodec tells pitch with R² of 0.1 or more (best layer)", "pitch R²: low*", "encodec"),
    _probed(
        "Deeper layers of EnCodec tell speakers better (difference of macro-F1)",
        "speaker macro-F1: stronger*",
        "encodec",
    ),
    _probed(
        "Phones in EnCodec's layers rise after layer 1 (difference of macro-F1)", "phone macro-F1: rises*", "encodec"
    ),
    Claim(
        "The same words of different speakers are alike in the distilled SpeechTokenizer (separation across speakers)",
        "geometry-report/verdicts.csv",
        {"claim": "Separation of words*", "codec": "speechtokenizer", "view": "full"},
        value_of("corpus.csv", "speakers"),
        "speakers",
        runs=1,
    ),
    Claim(
        "A faulty EMA update leaves at most 5 codes in use (median of the trainings)",
        "vq-report/verdicts.csv",
        {"claim": "faulty update: at most 5*", "variant": "vq_unscaled"},
        lambda metrics: 3,
        "trainings",
        runs=3,
    ),
    Claim(
        "An encoder on mel frames learns words faster than one on codes (difference of accuracy, short training)",
        "encoder-report/verdicts.csv",
        {"claim": "accuracy_word above*", "encoder": "mel"},
        _compared_words,
        "utterances",
        runs=3,
    ),
)


def rows(metrics: Path, corpus: str) -> Iterator[dict[str, Any]]:
    """The claims on one corpus: `COLUMNS`."""
    for claim in CLAIMS:
        yield {"claim": claim.text, "corpus": corpus, **_row(claim, metrics)}
    yield {"claim": _CAUSAL, "corpus": corpus, **_causal(metrics)}


def _row(claim: Claim, metrics: Path) -> dict[str, Any]:
    if not (metrics / claim.file).is_file():
        return {"verdict": "not applicable: the run has no such table"}
    if reason := reason_in(metrics / claim.file):
        return {"verdict": f"not applicable: {reason}"}
    row = claim.judged(metrics)
    if not row:
        return {"verdict": "not applicable: the table has no such row"}
    return {
        "verdict": WORDS[row["verdict"]],
        **{name: row[name] for name in ("value", "low", "high", "bound")},
        "n": claim.n(metrics),
        "unit": claim.unit,
        "runs": claim.runs,
    }


_CAUSAL = (
    f"Ablating a phone detector of Whisper's {SITE} lowers its words more than any control does (share of detectors)"
)


def _causal(metrics: Path) -> dict[str, Any]:
    file = metrics / "causal" / f"{SITE}.csv"
    if reason := reason_in(file):
        return {"verdict": f"not applicable: {reason}"}
    table = pd.read_csv(file)
    tested = table[table["intervention"] == "ablate"]
    causal, n = int((tested["verdict"] == "causal").sum()), len(tested)
    if not n:
        return {"verdict": "not applicable: no detector could be tested"}
    low, high = proportion_confint(causal, n, method="wilson")
    row = judge(_CAUSAL, Estimate(causal / n, low, high), 0.5)
    numbers = {name: row[name] for name in ("value", "low", "high", "bound")}
    return {"verdict": WORDS[row["verdict"]], **numbers, "n": n, "unit": "detectors", "runs": 1}


def main() -> None:
    """Judge every corpus."""
    corpora = {"default": ROOT / paths.SUMMARY.parent}
    corpora |= {folder.name: folder for folder in sorted(RESULTS.iterdir()) if (folder / paths.SUMMARY.name).is_file()}
    judged = [row for corpus, metrics in corpora.items() for row in rows(metrics, corpus)]
    write_csv(RESULTS / "claims.csv", pd.DataFrame(judged, columns=COLUMNS))


if __name__ == "__main__":
    main()
