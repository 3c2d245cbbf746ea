"""Contingency tables: everything a probe on one RVQ layer can learn, however many frames there are.

A frame's embedding at one layer is one of K codebook rows, so frames with the same code differ only by their label:
counts[code, class] is the training set of a classifier, and count, sum and sum of squares per code that of a
least-squares regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def count_pairs(rows: NDArray[np.integer], columns: NDArray[np.integer], shape: tuple[int, int]) -> NDArray[np.int64]:
    """Frames by row and column of a table of `shape`, such as (codes, classes); both inputs are [n]."""
    flat = rows.astype(np.int64) * shape[1] + columns
    return np.bincount(flat, minlength=shape[0] * shape[1]).reshape(shape)


@dataclass(frozen=True)
class ClassTable:
    """Frames by code and class."""

    classes: tuple[str, ...]  # sorted names of the columns
    counts: NDArray[np.int64]  # [codes, classes]

    @classmethod
    def from_frames(
        cls, codes: NDArray[np.integer], labels: NDArray[np.integer], classes: Sequence[str], size: int
    ) -> ClassTable:
        """Count frames. `codes` [n] index `size` rows, `labels` [n] index `classes` in any order."""
        order = np.argsort(np.asarray(classes, dtype=object))
        return cls(tuple(classes[i] for i in order), count_pairs(codes, labels, (size, len(classes)))[:, order])

    @property
    def frames(self) -> NDArray[np.int64]:
        """Frames by code, [codes]."""
        return self.counts.sum(axis=1)


@dataclass(frozen=True)
class ValueTable:
    """Count, sum and sum of squares of a value by code, [codes] each."""

    count: NDArray[np.int64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def from_frames(cls, codes: NDArray[np.integer], values: NDArray[np.floating], size: int) -> ValueTable:
        """Sum frames. `codes` [n] index `size` rows, `values` [n] are finite."""
        table = cls(np.zeros(size, dtype=np.int64), np.zeros(size), np.zeros(size))
        table.add(codes, values)
        return table

    def __add__(self, other: ValueTable) -> ValueTable:
        return ValueTable(self.count + other.count, self.total + other.total, self.squares + other.squares)

    def add(self, codes: NDArray[np.integer], values: NDArray[np.floating]) -> None:
        """Add more frames, in place."""
        exact = values.astype(np.float64)
        np.add.at(self.count, codes, 1)
        # frame by frame onto the running sums: batches of any size give the same last bits, sums of batches would not
        np.add.at(self.total, codes, exact)
        np.add.at(self.squares, codes, exact**2)

    @property
    def frames(self) -> NDArray[np.int64]:
        """Frames by code, [codes]."""
        return self.count

    @property
    def mean(self) -> float:
        """Mean value of all frames."""
        return float(self.total.sum() / self.count.sum())


Table = ClassTable | ValueTable
