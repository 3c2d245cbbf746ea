"""Effects with intervals: ratios of sums over utterances, resampled by utterance."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


class Effect(NamedTuple):
    """A mean and its bootstrap interval."""

    value: float
    low: float
    high: float


def ratio(totals: Array, counts: Array, *, samples: int, confidence: float, seed: int) -> Effect:
    """sum(totals) / sum(counts) with a percentile interval over resampled utterances (scipy.stats.bootstrap).

    Totals and counts of an utterance stay together. The frames and words of an utterance are not independent, so
    utterances are the units.

    Args:
        totals: a sum by utterance, [utterances]; `counts` what it is divided by, positive on the whole.
    Raises: `ValueError` for fewer than two utterances, or nothing to divide by.
    """
    from scipy.stats import bootstrap

    if len(totals) < 2 or counts.sum() <= 0:
        raise ValueError(f"{len(totals)} utterances with a denominator of {counts.sum():g} give no interval")

    def statistic(total: Array, count: Array, axis: int = -1) -> Array:
        below = count.sum(axis=axis)
        # a resample without a denominator says nothing; it takes the value of the whole
        return np.where(below > 0, total.sum(axis=axis) / np.where(below > 0, below, 1), value)

    value = float(totals.sum() / counts.sum())
    found = bootstrap(
        (totals, counts),
        statistic,
        n_resamples=samples,
        confidence_level=confidence,
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Effect(value, float(found.low), float(found.high))
