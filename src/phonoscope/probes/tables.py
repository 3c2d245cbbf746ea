"""Contingency tables: everything a probe on one RVQ layer can learn, however many frames there are.

A frame's embedding at one layer is one of K codebook rows, so frames with the same code differ only by their label:
counts[code, class] is the training set of a classifier, and count, sum and sum of squares per code that of a
least-squares regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassTable:
    """Frames by code and class."""

    classes: tuple[str, ...]
    """Sorted names of the columns."""
    counts: NDArray[np.int64]
    """[codes, classes]"""

    @classmethod
    def from_frames(
        cls, codes: NDArray[np.integer], labels: NDArray[np.integer], classes: Sequence[str], size: int
    ) -> ClassTable:
        """Count frames. `codes` [n] index `size` rows, `labels` [n] index `classes` in any order."""
        order = np.argsort(np.asarray(classes, dtype=object))
        column = np.empty(len(classes), dtype=np.int64)
        column[order] = np.arange(len(classes))
        flat = codes.astype(np.int64) * len(classes) + column[labels]
        counts = np.bincount(flat, minlength=size * len(classes)).reshape(size, len(classes))
        return cls(tuple(classes[i] for i in order), counts)


@dataclass(frozen=True)
class ValueTable:
    """Count, sum and sum of squares of a value by code."""

    count: NDArray[np.int64]
    """[codes]"""
    total: NDArray[np.float64]
    """[codes]"""
    squares: NDArray[np.float64]
    """[codes]"""

    @classmethod
    def from_frames(cls, codes: NDArray[np.integer], values: NDArray[np.floating], size: int) -> ValueTable:
        """Sum frames. `codes` [n] index `size` rows, `values` [n] are finite."""
        exact = values.astype(np.float64)
        return cls(
            np.bincount(codes, minlength=size),
            np.bincount(codes, weights=exact, minlength=size).astype(np.float64, copy=False),
            np.bincount(codes, weights=exact**2, minlength=size).astype(np.float64, copy=False),
        )

    @property
    def mean(self) -> float:
        """Mean value of all frames."""
        return float(self.total.sum() / self.count.sum())
