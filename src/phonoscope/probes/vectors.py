"""Vectors of frames that need not fit into memory: memory-mapped, or made from codes as they are read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.stats import leading_axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array = np.ndarray[Any, np.dtype[np.float64]]
BLOCK_FRAMES = 8_192


class FrameVectors(ABC):
    """The vectors of many frames, read some rows at a time."""

    @property
    @abstractmethod
    def dims(self) -> int:
        """Numbers of a vector."""

    @abstractmethod
    def rows(self, index: slice | NDArray[np.int64]) -> Array:
        """Some frames' vectors, [m, dims]."""

    def blocks(self, keep: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], Array]]:
        """The frames where `keep` [frames] is true, block by block: their indices [m] and vectors [m, dims]."""
        for start in range(0, len(keep), BLOCK_FRAMES):
            kept = np.flatnonzero(keep[start : start + BLOCK_FRAMES])
            if len(kept):
                yield start + kept, self.rows(slice(start, start + BLOCK_FRAMES))[kept]


@dataclass(frozen=True)
class ArrayVectors(FrameVectors):
    """Rows of an array or memory map [m, dims]: frame i has row i, or row `index[i]`; -1 is for frames without one."""

    array: NDArray[Any]
    index: NDArray[np.int64] | None = None

    @property
    def dims(self) -> int:
        return self.array.shape[1]

    def rows(self, index: slice | NDArray[np.int64]) -> Array:
        return np.asarray(self.array[index if self.index is None else self.index[index]], dtype=np.float64)


@dataclass(frozen=True)
class SummedCodes(FrameVectors):
    """The sum of the code vectors of the first layers: the input of a decoder that uses these layers.

    `codes` is an array or memory map [frames, layers or more], `codebooks` one [codes, dims] a layer.
    """

    codes: NDArray[np.integer]
    codebooks: Sequence[NDArray[Any]]

    @property
    def dims(self) -> int:
        return self.codebooks[0].shape[1]

    def rows(self, index: slice | NDArray[np.int64]) -> Array:
        codes = np.asarray(self.codes[index])
        total = np.zeros((len(codes), self.dims))
        for layer, codebook in enumerate(self.codebooks):
            total += codebook[codes[:, layer]]
        return total


@dataclass(frozen=True)
class ProjectedVectors(FrameVectors):
    """Other vectors, less `mean` [dims], on `axes` [dims, axes]."""

    vectors: FrameVectors
    mean: Array
    axes: Array

    @property
    def dims(self) -> int:
        return self.axes.shape[1]

    def rows(self, index: slice | NDArray[np.int64]) -> Array:
        return (self.vectors.rows(index) - self.mean) @ self.axes


def principal_axes(vectors: FrameVectors, keep: NDArray[np.bool_], dims: int) -> ProjectedVectors:
    """The vectors on the first principal components of the frames where `keep` [frames] is true."""
    # two passes: mean of squares less square of the mean would cancel where the mean is large
    count, mean = int(keep.sum()), np.zeros(vectors.dims)
    for _, block in vectors.blocks(keep):
        mean += block.sum(axis=0) / count
    scatter = np.zeros((len(mean), len(mean)))
    for _, block in vectors.blocks(keep):
        scatter += (block - mean).T @ (block - mean)
    return ProjectedVectors(vectors, mean, leading_axes(scatter, dims))


def utterance_means(vectors: FrameVectors, utterances: NDArray[np.integer], count: int) -> Array:
    """The mean vector of each utterance [count, dims]; `utterances` [frames] are their indices. Zero without frames."""
    total = np.zeros((count, vectors.dims))
    for index, block in vectors.blocks(np.ones(len(utterances), dtype=bool)):
        np.add.at(total, utterances[index], block)
    return total / np.maximum(np.bincount(utterances, minlength=count), 1)[:, None]
