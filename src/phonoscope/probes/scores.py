"""Scores and their intervals from per-utterance sums.

The unit of resampling is the utterance: its frames are far from independent. Every score is a function of sums over
utterances, so a bootstrap resample is a vector of utterance multiplicities and all resamples are one matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from phonoscope.config.probes import BootstrapConfig
from phonoscope.errors import DataError
from phonoscope.probes.tables import Array, count_pairs
from phonoscope.stats import Interval, draw_resamples, interval


class _ByUtterance:
    """Arrays whose first axis is the utterance; those of disjoint frames add up."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in vars(self)))

    def select(self, rows: NDArray[np.integer]) -> Self:
        """Some utterances."""
        return type(self)(*(array[rows] for array in vars(self).values()))


@dataclass(frozen=True)
class ClassStatistics(_ByUtterance):
    """Frames by utterance and class, [utterances, classes] each: labelled so, predicted so, and both."""

    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    correct: NDArray[np.int64]

    @classmethod
    def from_frames(
        cls, utterances: NDArray[Any], true: NDArray[Any], predicted: NDArray[Any], shape: tuple[int, int]
    ) -> ClassStatistics:
        """Count frames; all three arrays are [n] and index `shape` = (utterances, classes)."""
        hit = true == predicted
        pairs = ((utterances, true), (utterances, predicted), (utterances[hit], true[hit]))
        return cls(*(count_pairs(rows, columns, shape) for rows, columns in pairs))

    @property
    def frames(self) -> NDArray[np.int64]:
        """Frames by utterance."""
        return self.true.sum(axis=1)

    def scores(self, multiplicity: Array | None = None) -> dict[str, Array]:
        """`macro_f1` and `accuracy` of each resample; `multiplicity` is [resamples, utterances], default one of each.

        As scikit-learn's `f1_score(average="macro", zero_division=0)` on the frames: the mean over classes that are
        labelled or predicted there.
        """
        true, predicted, correct = (_resample(part, multiplicity) for part in (self.true, self.predicted, self.correct))
        present = true + predicted > 0
        f1 = np.divide(2 * correct, true + predicted, out=np.zeros_like(correct), where=present)
        return {
            "macro_f1": f1.sum(axis=1) / np.maximum(present.sum(axis=1), 1),
            "accuracy": correct.sum(axis=1) / np.maximum(true.sum(axis=1), 1),
        }


@dataclass(frozen=True)
class ValueStatistics(_ByUtterance):
    """Sums by utterance, each of shape [utterances]. `total` and `squares` are of the value less a constant."""

    count: NDArray[np.int64]
    total: Array
    squares: Array
    absolute_error: Array
    squared_error: Array

    @classmethod
    def from_frames(
        cls, utterances: NDArray[np.integer], true: Array, predicted: Array, size: int, origin: float
    ) -> ValueStatistics:
        """Sum frames; `true` and `predicted` are [n]. `origin`, near the mean, keeps R2 exact to the last digits."""

        def total(values: Array) -> Array:
            return np.bincount(utterances, weights=values, minlength=size).astype(np.float64, copy=False)

        error, value = true - predicted, true - origin
        count = np.bincount(utterances, minlength=size)
        return cls(count, total(value), total(value**2), total(np.abs(error)), total(error**2))

    @property
    def frames(self) -> NDArray[np.int64]:
        """Frames by utterance."""
        return self.count

    def scores(self, multiplicity: Array | None = None) -> dict[str, Array]:
        """`r2` and `mae` of each resample; `multiplicity` is [resamples, utterances], default one of each.

        R2 of a constant target is 1 if predicted without error, else 0, as in scikit-learn's `r2_score`. A resample
        without a frame scores NaN.
        """
        count, total, squares, absolute, squared = (
            _resample(part[:, None], multiplicity)[:, 0]
            for part in (self.count, self.total, self.squares, self.absolute_error, self.squared_error)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = squares - total**2 / count  # no digits are lost, since the values are about their mean
            r2 = np.where(spread > 0, 1 - squared / spread, np.where(squared > 0, 0.0, 1.0))
            return {"r2": np.where(count > 0, r2, np.nan), "mae": absolute / count}


Statistics = ClassStatistics | ValueStatistics


def _resample(part: NDArray[Any], multiplicity: Array | None) -> Array:
    """[utterances, k] -> [resamples, k]."""
    return part.sum(axis=0, dtype=np.float64)[None] if multiplicity is None else multiplicity @ part


def _paired(
    first: Statistics, second: Statistics, metric: str, config: BootstrapConfig, seed: int
) -> list[tuple[Array, Array]]:
    """The value [1] and the draws [samples] of both, from the same resamples."""
    sizes = len(first.frames), len(second.frames)
    if sizes[0] != sizes[1]:
        raise DataError(f"a paired comparison needs the same utterances; there are {sizes[0]} and {sizes[1]}")
    resamples = draw_resamples(sizes[0], config.samples, seed)
    return [(part.scores()[metric], part.scores(resamples)[metric]) for part in (first, second)]


def paired_difference(
    first: Statistics, second: Statistics, metric: str, config: BootstrapConfig, *, seed: int = 0
) -> Interval:
    """`first - second` in a metric, both resampled with the same utterances (same order, e.g. two codecs' eval set).

    Raises `DataError` if the number of utterances differs.
    """
    (a, draws_a), (b, draws_b) = _paired(first, second, metric, config, seed)
    return interval(float(a[0] - b[0]), draws_a - draws_b, config.confidence)


def paired_ratio(
    first: Statistics, second: Statistics, metric: str, config: BootstrapConfig, *, seed: int = 0
) -> Interval:
    """As `paired_difference`: `first / second` in a metric; infinite where `second` scores 0."""
    (a, draws_a), (b, draws_b) = _paired(first, second, metric, config, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        return interval(float((a / b)[0]), draws_a / draws_b, config.confidence)
