"""Verdicts on claims: an estimate with its interval against a bound."""

from __future__ import annotations

from typing import Any, NamedTuple

import pandas as pd

from phonoscope.report.markdown import intervals, markdown

JUDGED = ("value", "low", "high", "bound", "verdict")


class Estimate(NamedTuple):
    """A number and its interval."""

    value: float
    low: float
    high: float

    def minus(self, other: Estimate) -> Estimate:
        """The difference, with the widest interval that the two intervals allow."""
        return Estimate(self.value - other.value, self.low - other.high, self.high - other.low)

    def over(self, other: Estimate) -> Estimate:
        """The ratio, with the widest interval that the two intervals allow; NaN where the divisor is not positive."""
        pairs = (self.value, other.value), (self.low, other.high), (self.high, other.low)
        return Estimate(*(value / divisor if divisor > 0 else float("nan") for value, divisor in pairs))


def verdict(low: float, high: float, bound: float, *, above: bool = True) -> str:
    """Whether an interval supports that a number lies above `bound`, or below it with `above=False`.

    Returns "undecided" where the interval contains the bound, else "supported" or "refuted"; a NaN decides nothing.
    """
    if low > bound:
        return "supported" if above else "refuted"
    if high < bound:
        return "refuted" if above else "supported"
    return "undecided"


def judge(claim: str, estimate: Estimate, bound: float, *, above: bool = True, **place: Any) -> dict[str, Any]:
    """A row of a table of verdicts: the claim, where it is tested (`place`), the columns `JUDGED`."""
    value, low, high = map(float, estimate)
    judged = (value, low, high, bound, verdict(low, high, bound, above=above))
    return {"claim": claim, **place, **dict(zip(JUDGED, judged, strict=True))}


def verdict_frame(rows: list[dict[str, Any]], *place: str) -> pd.DataFrame:
    """Rows of `judge` as a table that has all columns even without rows: claim, `place`, `JUDGED`."""
    return pd.DataFrame(rows, columns=["claim", *place, *JUDGED])


def verdict_markdown(verdicts: pd.DataFrame) -> str:
    """A table of verdicts as Markdown, value and interval in one column."""
    shown = verdicts.drop(columns=list(JUDGED))
    text_columns = len(shown.columns)
    shown["value [interval]"] = intervals(verdicts)
    shown["bound"] = [f"{bound:.4g}".replace("-", "−") for bound in verdicts["bound"]]
    return markdown(shown.assign(verdict=verdicts["verdict"]), text_columns)
