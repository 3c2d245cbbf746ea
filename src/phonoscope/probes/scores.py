"""Scores and their intervals from per-utterance sums.

Every score is a function of sums over utterances (or speakers), whose frames are far from independent. So the score
without one of them, which the jackknife needs, is the function of the sums less its part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from phonoscope.errors import DataError
from phonoscope.probes.tables import Array, count_pairs
from phonoscope.stats import Interval, Scale, jackknife

SCALES: dict[str, Scale] = {"r2": "unexplained"}  # on which the interval of a score is made; the others are linear


class _ByUtterance(ABC):
    """Arrays whose first axis is the utterance; those of disjoint frames add up."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in vars(self)))

    def select(self, rows: NDArray[np.integer]) -> Self:
        """Some utterances."""
        return type(self)(*(array[rows] for array in vars(self).values()))

    def whole(self) -> Self:
        """The sum over utterances, as the one row of a table."""
        return type(self)(*(array.sum(axis=0, keepdims=True) for array in vars(self).values()))

    def without_each(self) -> Self:
        """The sums over all utterances but one: a row for each that has frames."""
        there = self.select(np.flatnonzero(self.frames))
        return type(self)(*(array.sum(axis=0) - array for array in vars(there).values()))

    @property
    @abstractmethod
    def frames(self) -> NDArray[np.int64]:
        """Frames by utterance."""

    @abstractmethod
    def row_scores(self) -> dict[str, Array]:
        """The scores of every row by itself, [rows] each."""

    def scores(self) -> dict[str, float]:
        """The scores of all utterances together."""
        return {metric: float(value[0]) for metric, value in self.whole().row_scores().items()}

    def intervals(self, confidence: float) -> dict[str, Interval]:
        """The scores with their jackknife intervals over utterances that have frames."""
        left_out = self.without_each().row_scores()
        return {
            metric: jackknife(value, left_out[metric], confidence, SCALES.get(metric, "linear"))
            for metric, value in self.scores().items()
        }


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

    def row_scores(self) -> dict[str, Array]:
        """`macro_f1` and `accuracy` of each row.

        As scikit-learn's `f1_score(average="macro", zero_division=0)` on the frames: the mean over classes that are
        labelled or predicted there.
        """
        true, predicted, correct = self.true, self.predicted, self.correct
        present = true + predicted > 0
        f1 = np.divide(2 * correct, true + predicted, out=np.zeros(correct.shape), where=present)
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

    def row_scores(self) -> dict[str, Array]:
        """`r2` and `mae` of each row.

        R2 of a constant target is 1 if predicted without error, else 0, as in scikit-learn's `r2_score`. A row without
        a frame scores NaN.
        """
        count, squared = self.count, self.squared_error
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = self.squares - self.total**2 / count  # no digits are lost, since the values are about their mean
            r2 = np.where(spread > 0, 1 - squared / spread, np.where(squared > 0, 0.0, 1.0))
            return {"r2": np.where(count > 0, r2, np.nan), "mae": self.absolute_error / count}


Statistics = ClassStatistics | ValueStatistics


def paired_difference(first: Statistics, second: Statistics, metric: str, confidence: float) -> Interval:
    """`first - second` in a metric, without the same utterances (same order, e.g. two codecs' eval set).

    Raises `DataError` if the number of utterances differs.
    """
    (a, without_a), (b, without_b) = _paired(first, second, metric)
    return jackknife(a - b, without_a - without_b, confidence)


def paired_ratio(first: Statistics, second: Statistics, metric: str, confidence: float) -> Interval:
    """As `paired_difference`: `first / second` in a metric, on a log scale. Both score above 0."""
    (a, without_a), (b, without_b) = _paired(first, second, metric)
    with np.errstate(divide="ignore", invalid="ignore"):
        return jackknife(a / b, without_a / without_b, confidence, "log")


def _paired(first: Statistics, second: Statistics, metric: str) -> list[tuple[float, Array]]:
    """The score of both, and their scores without each utterance that has frames."""
    if not np.array_equal(first.frames > 0, second.frames > 0):
        raise DataError(
            f"a paired comparison needs the same utterances; there are {np.count_nonzero(first.frames)} and "
            f"{np.count_nonzero(second.frames)}, or others"
        )
    return [(part.scores()[metric], part.without_each().row_scores()[metric]) for part in (first, second)]
