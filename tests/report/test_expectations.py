from __future__ import annotations

import pytest
from phonoscope.report.expectations import COLUMNS, expectations

from tests.report.planted import NO_TWINS, Values, table, twins

PLATEAU = [0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.39, 0.4]
FALL = [0.4, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.1]


def verdict(codec: str, values: Values, half: float = 0.01) -> str:
    found = expectations(table({codec: values}, half=half), NO_TWINS)
    assert list(found) == list(COLUMNS)
    assert len(found) == 1
    return str(found["verdict"].iloc[0])


@pytest.mark.parametrize(
    ("values", "half", "expected"),
    [
        (PLATEAU, 0.01, "confirmed"),
        (PLATEAU[:4] + [0.1] * 4, 0.01, "mixed"),
        (PLATEAU, 0.5, "refuted"),
        (FALL, 0.01, "refuted"),
        ([0.1, 0.1, 0.1, 0.1, 0.4, 0.4, 0.4, 0.4], 0.01, "refuted"),
        ([0.1], 0.01, "refuted"),
    ],
)
def test_gradual_then_plateau(values: list[float], half: float, expected: str) -> None:
    assert verdict("encodec", {"phone": values}, half) == expected


@pytest.mark.parametrize(
    ("values", "half", "expected"),
    [
        ([0.4, 0.2, 0.1], 0.01, "confirmed"),
        ([0.4, 0.21, 0.1], 0.01, "mixed"),
        ([0.4, 0.2, 0.1], 0.11, "mixed"),
        ([0.2, 0.2, 0.1], 0.01, "refuted"),
        ([0.1, 0.2, 0.1], 0.01, "refuted"),
        ([0.4], 0.01, "mixed"),
    ],
)
def test_sharp_at_first(values: list[float], half: float, expected: str) -> None:
    assert verdict("speechtokenizer", {"phone": values}, half) == expected


@pytest.mark.parametrize("codec", ["encodec", "speechtokenizer"])
@pytest.mark.parametrize(
    ("values", "half", "expected"),
    [
        ([0.1, 0.1, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1], 0.01, "confirmed"),
        ([0.1, 0.1, 0.3, 0.2, 0.1, 0.1, 0.1, 0.1], 0.11, "mixed"),
        ([0.1, 0.3, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1], 0.01, "refuted"),
        (FALL, 0.01, "refuted"),
    ],
)
def test_weak_early(codec: str, values: list[float], half: float, expected: str) -> None:
    assert verdict(codec, {"speaker": values}, half) == expected


@pytest.mark.parametrize(
    ("values", "half", "expected"),
    [([0.08, 0.02], 0.01, "confirmed"), ([0.08, 0.02], 0.03, "mixed"), ([0.02, 0.2], 0.01, "refuted")],
)
def test_low_r2(values: list[float], half: float, expected: str) -> None:
    assert verdict("encodec", {"pitch": values}, half) == expected


@pytest.mark.parametrize(
    ("interval", "phone", "speaker"),
    [((1.2, 1.4), "confirmed", "refuted"), ((0.8, 1.0), "refuted", "confirmed"), ((1.0, 1.3), "mixed", "mixed")],
)
def test_twin_claims(interval: tuple[float, float], phone: str, speaker: str) -> None:
    ratios = {(task, metric): (1.1, *interval) for task in ("phone", "speaker") for metric in ("macro_f1", "accuracy")}
    found = expectations(table({"dac": {"phone": FALL}}), twins(ratios))
    assert found["verdict"].tolist() == [phone, speaker]
    assert found["codec"].tolist() == ["speechtokenizer"] * 2
    assert found["found"].iloc[0].startswith("ratio 1.10 [")


def test_the_published_numbers_get_the_verdicts_of_the_study() -> None:
    """Macro-F1 and R2 of the study's table 1, with intervals far smaller than its differences."""
    encodec = {
        "phone": [0.037, 0.030, 0.015, 0.014, 0.015, 0.007, 0.014, 0.010],
        "speaker": [0.013, 0.010, 0.008, 0.006, 0.006, 0.005, 0.004, 0.004],
        "pitch": [0.023, 0.030, 0.018, 0.012, 0.008, 0.005, 0.003, 0.002],
    }
    speechtokenizer = {
        "phone": [0.338, 0.068, 0.062, 0.051, 0.045, 0.044, 0.043, 0.037],
        "speaker": [0.016, 0.049, 0.031, 0.028, 0.022, 0.021, 0.017, 0.018],
        "pitch": [0.068, 0.098, 0.036, 0.025, 0.018, 0.013, 0.012, 0.009],
    }
    found = expectations(table({"encodec": encodec, "speechtokenizer": speechtokenizer}, half=0.0005), NO_TWINS)
    verdicts = {(str(row["claim"]).split(",")[0], row["codec"]): row["verdict"] for row in found.to_dict("records")}
    assert verdicts == {
        ("phone", "encodec"): "refuted",
        ("phone", "speechtokenizer"): "confirmed",
        ("speaker", "encodec"): "refuted",
        ("speaker", "speechtokenizer"): "refuted",
        ("pitch", "encodec"): "confirmed",
        ("pitch", "speechtokenizer"): "confirmed",
    }
