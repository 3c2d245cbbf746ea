"""Contingency tables: everything a probe on one RVQ layer can learn, however many frames there are.

A frame's embedding at one layer is one of K codebook rows, so frames with the same code differ only by their label:
counts[code, class] is the training set of a classifier, and count, sum and sum of squares per code that of a
least-squares regression. Tables of disjoint frames add up.
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

    @property
    def frames(self) -> NDArray[np.int64]:
        """Frames by code, [codes]."""
        return self.counts.sum(axis=1)

    @property
    def trainable(self) -> bool:
        """Whether at least two classes have frames."""
        return int((self.counts.sum(axis=0) > 0).sum()) > 1

    def reindex(self, classes: tuple[str, ...]) -> ClassTable:
        """The same counts under other columns. Raises `KeyError` if one of this table's classes is missing."""
        position = {name: i for i, name in enumerate(classes)}
        counts = np.zeros((len(self.counts), len(classes)), dtype=np.int64)
        counts[:, [position[name] for name in self.classes]] = self.counts
        return ClassTable(classes, counts)

    def __add__(self, other: ClassTable) -> ClassTable:
        classes = tuple(sorted({*self.classes, *other.classes}))
        return ClassTable(classes, self.reindex(classes).counts + other.reindex(classes).counts)


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

    def __add__(self, other: ValueTable) -> ValueTable:
        return ValueTable(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def frames(self) -> NDArray[np.int64]:
        """Frames by code, [codes]."""
        return self.count

    @property
    def trainable(self) -> bool:
        """Whether there is a frame."""
        return bool(self.count.any())

    @property
    def mean(self) -> float:
        """Mean value of all frames."""
        return float(self.total.sum() / self.count.sum())
