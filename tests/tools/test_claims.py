"""README's claims judged from tables of known content."""

from pathlib import Path

import pandas as pd
import pytest

from tools.claims import rows


@pytest.fixture
def metrics(tmp_path: Path) -> Path:
    (tmp_path / "compare").mkdir()
    (tmp_path / "causal").mkdir()
    (tmp_path / "split.csv").write_text("metric,value\ntrain,80\neval,20\n")
    (tmp_path / "compare/verdicts.csv").write_text(
        "claim,codec,layer,value,low,high,bound,verdict\n"
        "phone macro-F1: distilled over undistilled,speechtokenizer,1,1.5,1.2,1.8,1,supported\n"
        "pitch R²: low in all layers,encodec,3,0.2,0.15,0.25,0.1,refuted\n"
        "pitch R²: low in all layers,speechtokenizer,1,0.05,0,0.09,0.1,supported\n"
    )
    return tmp_path


def judged(metrics: Path) -> dict[str, dict[str, object]]:
    return {str(row["claim"]): row for row in rows(metrics, {"vq": {"seeds": 3}, "encoder": {"seeds": 2}}, "made-up")}


def find(metrics: Path, part: str) -> dict[str, object]:
    (row,) = [row for claim, row in judged(metrics).items() if part in claim]
    return row


def causal(metrics: Path, verdicts: list[str]) -> None:
    table = pd.DataFrame({"intervention": "ablate", "verdict": verdicts})
    steering = pd.DataFrame({"intervention": "steer", "verdict": ["undecided"] * 9})
    pd.concat([table, steering]).to_csv(metrics / "causal/encoder_3.csv", index=False)


def test_a_claim_takes_verdict_and_interval_of_its_row(metrics: Path) -> None:
    causal(metrics, ["causal"] * 10)
    row = find(metrics, "makes phones")
    assert (row["verdict"], row["value"], row["low"], row["high"], row["n"]) == ("holds", 1.5, 1.2, 1.8, 20)
    row = find(metrics, "Pitch")  # EnCodec's, not the first
    assert (row["verdict"], row["value"]) == ("does not hold", 0.2)
    assert str(find(metrics, "makes speakers")["verdict"]).startswith("not applicable")


@pytest.mark.parametrize(("count", "verdict"), [(10, "holds"), (6, "undecided"), (0, "does not hold")])
def test_the_share_of_causal_detectors_has_wilsons_interval(metrics: Path, count: int, verdict: str) -> None:
    causal(metrics, ["causal"] * count + ["undecided"] * (10 - count))
    row = find(metrics, "causal")
    assert (row["verdict"], row["value"], row["n"]) == (verdict, count / 10, 10)
    z = 1.959963985  # Wilson (1927): the bounds solve (p - share)^2 = z^2 p (1 - p) / n
    for bound in (row["low"], row["high"]):
        assert (float(str(bound)) - count / 10) ** 2 == pytest.approx(
            z**2 * float(str(bound)) * (1 - float(str(bound))) / 10, abs=1e-6
        )


def test_what_stepped_aside_is_not_applicable(metrics: Path) -> None:
    (metrics / "causal/encoder_3.csv").write_text("not_applicable\nno transcripts\n")
    assert find(metrics, "causal")["verdict"] == "not applicable: no transcripts"
