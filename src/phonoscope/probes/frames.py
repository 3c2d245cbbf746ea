"""Probes on explicit frames, for inputs that are not finite tables (sums of layers, latents, Whisper features).

Out of core: vectors are read block by block and standardised as they pass; more than `HELD_BYTES` of them are never in
memory at once. A regression needs two passes (scikit-learn's running mean and variance, then the moments), a classifier
three and one for every step of L-BFGS on the full objective. The results are those of the table path, and of
scikit-learn, on the same frames.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonoscope.config.probes import ClassifierConfig
from phonoscope.errors import DataError
from phonoscope.probes.solvers import Probe, Problem, minimise, seen_classes
from phonoscope.probes.tables import Array
from phonoscope.stats import discriminant_axes, positive_axes

BLOCK_FRAMES = 8_192
HELD_BYTES = 2**28  # largest size of the frames that are held in memory between the passes of L-BFGS


class FrameVectors(ABC):
    """The vectors of many frames, read some rows at a time."""

    @abstractmethod
    def rows(self, index: slice | NDArray[np.int64]) -> Array:
        """Some frames' vectors, [m, dims]."""

    @property
    def dims(self) -> int:
        """Numbers of a vector."""
        return self.rows(slice(0)).shape[1]

    def blocks(self, keep: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], Array]]:
        """The frames where `keep` [frames] is true, block by block: their indices [m] and vectors [m, dims]."""
        for start in range(0, len(keep), BLOCK_FRAMES):
            kept = np.flatnonzero(keep[start : start + BLOCK_FRAMES])
            if len(kept):
                yield start + kept, self.rows(slice(start, start + BLOCK_FRAMES))[kept]

    def standardisation(self, keep: NDArray[np.bool_]) -> tuple[Array, Array]:
        """Mean and standard deviation [dims] of the frames kept; 1 where a dimension is constant."""
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler()
        for _, block in self.blocks(keep):
            scaler.partial_fit(block)
        return scaler.mean_, scaler.scale_

    def discriminants(self, index: NDArray[np.integer], weights: Array, rank: int) -> ProjectedVectors:
        """The vectors on the `rank` directions that best separate the classes (`stats.discriminant_axes`).

        `index` [frames] is the class of each, negative for frames left out; `weights` [classes] is that of a frame.
        """
        keep, by_class = index >= 0, np.bincount(index[index >= 0], minlength=len(weights)) * weights
        # two passes: mean of squares less square of the mean would cancel where the mean is large
        centres = np.zeros((len(weights), self.dims))
        for rows, block in self.blocks(keep):
            np.add.at(centres, index[rows], block * weights[index[rows], None])
        mean = centres.sum(axis=0) / by_class.sum()
        centres = centres[by_class > 0] / by_class[by_class > 0, None] - mean
        scatter = np.zeros((len(mean), len(mean)))
        for rows, block in self.blocks(keep):
            scatter += ((block - mean).T * weights[index[rows]]) @ (block - mean)
        return ProjectedVectors(self, mean, discriminant_axes(scatter, centres, by_class[by_class > 0], rank))

    def means(self, utterances: NDArray[np.integer], count: int) -> Array:
        """The mean vector of each utterance [count, dims]; `utterances` [frames] are indices. Zero without frames."""
        total = np.zeros((count, self.dims))
        for index, block in self.blocks(np.ones(len(utterances), dtype=bool)):
            np.add.at(total, utterances[index], block)
        return total / np.maximum(np.bincount(utterances, minlength=count), 1)[:, None]


@dataclass(frozen=True)
class ArrayVectors(FrameVectors):
    """Rows of an array or memory map [m, dims]: frame i has row i, or row `index[i]`; -1 is for frames without one."""

    array: NDArray[Any]
    index: NDArray[np.int64] | None = None

    def rows(self, index: slice | NDArray[np.int64]) -> Array:
        return np.asarray(self.array[index if self.index is None else self.index[index]], dtype=np.float64)


@dataclass(frozen=True)
class SummedCodes(FrameVectors):
    """The sum of the code vectors of the first layers: the input of a decoder that uses these layers."""

    codes: NDArray[np.integer]  # an array or memory map [frames, layers or more]
    codebooks: Sequence[NDArray[Any]]  # one [codes, dims] a layer

    def rows(self, index: slice | NDArray[np.int64]) -> Array:
        codes = np.asarray(self.codes[index])
        total = np.zeros((len(codes), self.codebooks[0].shape[1]))
        for layer, codebook in enumerate(self.codebooks):
            total += codebook[codes[:, layer]]
        return total


@dataclass(frozen=True)
class ProjectedVectors(FrameVectors):
    """Other vectors, less `mean` [dims], on `axes` [dims, axes]."""

    vectors: FrameVectors
    mean: Array
    axes: Array

    def rows(self, index: slice | NDArray[np.int64]) -> Array:
        return (self.vectors.rows(index) - self.mean) @ self.axes


def fit_probe_index(
    vectors: FrameVectors,
    index: NDArray[np.integer],
    classes: Sequence[str],
    settings: ClassifierConfig,
    precision: type[np.floating] = np.float64,
) -> Probe:
    """As `fit_probe`, on frames: `vectors` [n, dims], which may be a memory map; `index` [n] are their classes.

    Frames of a negative index are left out. Single `precision` takes half the time, and reaches a tolerance of 1e-4.
    Raises `DataError` if fewer than two classes have frames.
    """
    keep = index >= 0
    totals = np.bincount(index[keep], minlength=len(classes))
    seen, weights, names = seen_classes(totals, classes, settings.class_weight)
    labels = np.searchsorted(seen, index)
    mean, scale = vectors.standardisation(keep)
    # weighted moments of the standardised frames, for their centre and principal axes
    mass, first, second = 0.0, np.zeros(len(mean)), np.zeros((len(mean), len(mean)))
    for rows, block in vectors.blocks(keep):
        scaled, weight = (block - mean) / scale, weights[labels[rows]]
        mass += weight.sum()
        first += weight @ scaled
        second += (scaled * weight[:, None]).T @ scaled
    variance, axes = positive_axes(second - np.outer(first, first) / mass)
    centre, spread = first / mass, np.sqrt(variance)
    # standardise, centre and rotate in one product
    origin, turn = mean + scale * centre, axes / scale[:, None]

    def read() -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        for rows, block in vectors.blocks(keep):
            yield labels[rows], ((block - origin) @ turn).astype(precision)

    held = list(read()) if keep.sum() * len(spread) * np.dtype(precision).itemsize <= HELD_BYTES else None
    weight_of = weights.astype(precision)

    def data(beta: Array) -> tuple[float, Array]:
        slope, loss = beta.astype(precision), 0.0
        gradient = np.zeros_like(beta)
        for labelled, features in held or read():
            logits = features @ slope[:-1] + slope[-1]
            logits -= logits.max(axis=1, keepdims=True)  # so that exp cannot overflow
            truth = logits[np.arange(len(labelled)), labelled]
            odds = np.exp(logits, out=logits)
            total, weight = odds.sum(axis=1), weight_of[labelled]
            # the loss is summed in double: L-BFGS stalls on differences that single precision rounds away
            loss += float(weight.astype(np.float64) @ (np.log(total.astype(np.float64)) - truth))
            # gradient of the logits: weight * (softmax - one-hot)
            odds *= (weight / total)[:, None]
            odds[np.arange(len(labelled)), labelled] -= weight
            gradient[:-1] += features.T @ odds
            gradient[-1] += odds.sum(axis=0)
        return loss, gradient

    problem = Problem(data, axes, spread, centre, mass, mean, scale, names)
    return minimise(problem, settings.C, settings.max_iter, settings.tolerance)


def fit_ridge_frames(vectors: FrameVectors, values: NDArray[Any], *, alpha: float = 0.0) -> Probe:
    """As `fit_ridge`, on frames: `vectors` [n, dims] and `values` [n], those not finite left out.

    Raises `DataError` if no value is finite.
    """
    keep = np.isfinite(values)
    if not keep.any():
        raise DataError("a regression needs at least one frame, and has none")
    mean, scale = vectors.standardisation(keep)
    average = values[keep].mean(dtype=np.float64)
    centred = np.asarray(values, dtype=np.float64) - average
    moments, products = np.zeros((len(mean), len(mean))), np.zeros(len(mean))
    for index, block in vectors.blocks(keep):
        scaled = (block - mean) / scale
        moments += scaled.T @ scaled
        products += centred[index] @ scaled
    variance, axes = positive_axes(moments)
    weight = axes @ ((axes.T @ products) / (variance + alpha))
    # sum of squares of centred - scaled @ weight, from the moments alone
    residual = centred[keep] @ centred[keep] - 2 * weight @ products + weight @ moments @ weight
    objective = float(residual + alpha * weight @ weight)
    return Probe(weight[None], np.array([average]), mean, scale, (), objective, True, 1)
