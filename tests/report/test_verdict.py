from __future__ import annotations

import pandas as pd
import pytest

from phonoscope.report.markdown import markdown, number, with_interval
from phonoscope.report.verdict import Estimate, judge, verdict, verdict_frame, verdict_markdown


@pytest.mark.parametrize(
    ("low", "high", "above", "below"),
    [
        (1.2, 1.4, "supported", "refuted"),
        (0.8, 1.0, "refuted", "supported"),
        (1.0, 1.3, "undecided", "undecided"),
        (1.1, 1.1, "undecided", "undecided"),
    ],
)
def test_an_interval_that_excludes_the_bound_decides(low: float, high: float, above: str, below: str) -> None:
    assert verdict(low, high, 1.1) == above
    assert verdict(low, high, 1.1, above=False) == below


def test_differences_and_ratios_have_the_widest_interval() -> None:
    first, second = Estimate(0.4, 0.3, 0.6), Estimate(0.2, 0.1, 0.3)
    assert first.minus(second) == pytest.approx((0.2, 0.0, 0.5))
    assert first.over(second) == pytest.approx((2.0, 1.0, 6.0))
    unbounded = first.over(Estimate(0.2, 0.0, 0.3))
    assert unbounded == pytest.approx((2.0, 1.0, float("nan")), nan_ok=True)
    assert [verdict(*unbounded[1:], bound) for bound in (0.9, 1.5)] == ["supported", "undecided"]


def test_a_row_holds_the_claim_its_place_and_the_numbers() -> None:
    row = judge("a above b", Estimate(0.5, 0.4, 0.6), 0.45, codec="dac")
    assert list(row.values()) == ["a above b", "dac", 0.5, 0.4, 0.6, 0.45, "undecided"]
    assert list(verdict_frame([], "codec")) == list(verdict_frame([row], "codec")) == list(row)
    text = verdict_markdown(verdict_frame([row], "codec"))
    assert "| a above b | dac     | 0.500 [0.400, 0.600] |    0.45 | undecided |" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (-0.0001, "0.000"), (-0.5, "−0.500"), (51.26, "51.3"), (-12.0, "−12.0"), (float("nan"), "")],
)
def test_numbers_as_text(value: float, text: str) -> None:
    assert number(value) == text


def test_an_interval_is_shown_where_there_is_one() -> None:
    assert with_interval(0.5, -0.1, 0.6, digits=1) == "0.5 [−0.1, 0.6]"
    for low, high in ((float("nan"), float("nan")), (0.4, float("nan")), (0.5, 0.5)):
        assert with_interval(0.5, low, high) == "0.500"


def test_cells_stay_as_they_are() -> None:
    assert markdown(pd.DataFrame({"layer": [1], "n": ["007"]})).splitlines()[-1] == "| 1       | 007 |"
    assert markdown(pd.DataFrame({"layer": [], "n": []})).splitlines()[0].split() == ["|", "layer", "|", "n", "|"]
