"""Write docs/results/claims.csv: what README claims, judged on every corpus that has results.

`python -m tools.claims` reads metrics/ (the default corpus) and the folders of docs/results/ (see `tools.recorded`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML
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
    n: tuple[str, str] | None
    """A table, and its row whose value is the number of units; None: the trainings are the units."""
    unit: str
    seeds: str = ""
    """The section of params.yaml whose `seeds` is the number of trainings behind the number; empty: one training."""

    def judged(self, metrics: Path) -> dict[str, Any]:
        table = pd.read_csv(metrics / self.file)
        for column, value in self.row.items():
            start = value.removesuffix("*")
            text = table[column].astype(str)
            table = table[text.str.startswith(start) if value.endswith("*") else text == value]
        return {str(name): value for name, value in table.iloc[0].items()} if len(table) else {}


def _probed(text: str, claim: str, codec: str) -> Claim:
    row = {"claim": claim, "codec": codec}
    return Claim(text, "compare/verdicts.csv", row, ("split.csv", "eval"), "utterances")


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
    _probed(
        "Pitch is hardly decodable from any layer of EnCodec (R² of the best layer below 0.1)",
        "pitch R²: low*",
        "encodec",
    ),
    _probed(
        "Speakers are more decodable from deeper layers of EnCodec (difference of macro-F1)",
        "speaker macro-F1: stronger*",
        "encodec",
    ),
    _probed(
        "Phones are more decodable from EnCodec's layers after the first (difference of macro-F1)",
        "phone macro-F1: rises*",
        "encodec",
    ),
    Claim(
        "The same words of different speakers are alike in the distilled SpeechTokenizer (separation across speakers)",
        "geometry-report/verdicts.csv",
        {"claim": "Separation of words*", "codec": "speechtokenizer", "view": "full"},
        ("corpus.csv", "speakers"),
        "speakers",
    ),
    Claim(
        "A faulty EMA update leaves at most 5 codes in use (median of the trainings)",
        "vq-report/verdicts.csv",
        {"claim": "faulty update: at most 5*", "variant": "vq_unscaled"},
        None,
        "trainings",
        seeds="vq",
    ),
    Claim(
        "An encoder on mel frames learns words faster than one on codes (difference of accuracy, short training)",
        "encoder-report/verdicts.csv",
        {"claim": "accuracy_word above*", "encoder": "mel"},
        ("split.csv", "eval_words"),
        "utterances",
        seeds="encoder",
    ),
)


def rows(metrics: Path, params: Mapping[str, Any], corpus: str) -> Iterator[dict[str, Any]]:
    """The claims on one corpus: `COLUMNS`."""
    for claim in CLAIMS:
        yield {"claim": claim.text, "corpus": corpus, **_row(claim, metrics, params)}
    yield {"claim": _CAUSAL, "corpus": corpus, **_causal(metrics)}


def _row(claim: Claim, metrics: Path, params: Mapping[str, Any]) -> dict[str, Any]:
    if not (metrics / claim.file).is_file():
        return {"verdict": "not applicable: the run has no such table"}
    if reason := reason_in(metrics / claim.file):
        return {"verdict": f"not applicable: {reason}"}
    row = claim.judged(metrics)
    if not row:
        return {"verdict": "not applicable: the table has no such row"}
    runs = params[claim.seeds]["seeds"] if claim.seeds else 1
    return {
        "verdict": WORDS[row["verdict"]],
        **{name: row[name] for name in ("value", "low", "high", "bound")},
        "n": _count(metrics, *claim.n) if claim.n else runs,
        "unit": claim.unit,
        "runs": runs,
    }


def _count(metrics: Path, file: str, metric: str) -> int:
    return int(pd.read_csv(metrics / file).set_index("metric")["value"][metric])


_CAUSAL = f"Most phone detectors of Whisper's {SITE} are causal when they are ablated (share of detectors)"


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
    files = {name: (ROOT if name == "default" else folder) / paths.PARAMS for name, folder in corpora.items()}
    params = {name: YAML(typ="safe").load(file) for name, file in files.items()}
    judged = [row for corpus, metrics in corpora.items() for row in rows(metrics, params[corpus], corpus)]
    write_csv(RESULTS / "claims.csv", pd.DataFrame(judged, columns=COLUMNS))


if __name__ == "__main__":
    main()
