"""Statistics that several parts share: samples, principal components, perplexity, intervals, permutations."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = np.ndarray[Any, np.dtype[np.float64]]
Scale = Literal["linear", "log", "unexplained"]
SCALES: dict[Scale, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "linear": (np.positive, np.positive),
    "log": (np.log, np.exp),
    "unexplained": (lambda r2: -np.log1p(-r2), lambda bits: -np.expm1(-bits)),
}
"""Scales on which an estimate is nearer to normal, and back: ratios, and shares of explained variance."""


class Interval(NamedTuple):
    """An estimate and its confidence interval."""

    value: float
    low: float
    high: float


def evenly_spaced(size: int, count: int, rule: Literal["nearest", "floor", "parts"] = "nearest") -> NDArray[np.int64]:
    """At most `count` of the indices 0 ... size - 1, in order, without repetition. Shape [min(size, count)].

    - `nearest`: from the first to the last index, positions rounded to the nearest integer.
    - `floor`: the same positions, rounded down (k-means starts of untrained codecs).
    - `parts`: the first index of each of `count` equal parts (utterances that Whisper transcribes); the last index is
      not reached.
    """
    taken = max(0, min(size, count))
    if rule == "parts":
        step = max(1.0, size / max(1, count))
        return np.array([int(index * step) for index in range(taken)], dtype=np.int64)
    positions = np.linspace(0, size - 1, taken)
    return (positions.round() if rule == "nearest" else positions).astype(np.int64)


def leading_axes(scatter: Array, dims: int) -> Array:
    """Eigenvectors [D, min(dims, D)] of a scatter matrix [D, D], the largest eigenvalue first."""
    return np.linalg.eigh(scatter)[1][:, ::-1][:, :dims]


def positive_axes(scatter: Array) -> tuple[Array, Array]:
    """Eigenvalues [rank] and eigenvectors [D, rank] of a scatter matrix [D, D], without those of rounding errors."""
    values, axes = np.linalg.eigh(scatter)
    keep = values > max(values[-1], 0.0) * len(values) * 8 * np.finfo(np.float64).eps
    return values[keep], axes[:, keep]


def discriminant_axes(scatter: Array, centres: Array, masses: Array, dims: int) -> Array:
    """Directions of linear discriminant analysis [D, at most dims], in which class means differ most.

    They maximise the scatter between classes over all scatter (Hastie, Tibshirani and Friedman 2009, section 4.3.3).

    Args:
        scatter: of all rows about their mean, [D, D].
        centres: mean of each class less that of all rows, [classes, D].
        masses: weight of each class, [classes].
    """
    values, axes = positive_axes(scatter)
    whiten = axes / np.sqrt(values)
    between = np.sqrt(masses)[:, None] * (centres @ whiten)
    return whiten @ leading_axes(between.T @ between, min(dims, len(masses) - 1))


def weighted_pca(rows: NDArray[Any], weights: NDArray[Any], dims: int) -> tuple[Array, Array]:
    """Principal components of rows [n, D] that weigh `weights` [n]: the mean [D] and the axes [D, min(dims, D)].

    `(rows - mean) @ axes` are the scores.
    """
    values = np.asarray(rows, dtype=np.float64)
    mean = weights @ values / weights.sum()
    centred = values - mean
    return mean, leading_axes((centred.T * weights) @ centred, dims)


def perplexity(counts: NDArray[Any], axis: int = -1) -> Array:
    """exp of the entropy of counts or shares: the number of equally frequent codes of the same entropy.

    NaN where all counts are 0.
    """
    from scipy.stats import entropy

    with np.errstate(invalid="ignore"):
        return np.exp(np.asarray(entropy(counts, axis=axis)))


def jackknife(value: float, left_out: Array, confidence: float, scale: Scale = "linear") -> Interval:
    """Interval of an estimate from its values without each unit, such as an utterance or a speaker, [units].

    The delete-one jackknife (Efron and Tibshirani 1993, chapter 11) with Student's t. Where a few units make up most of
    the variance, t has fewer degrees of freedom (Satterthwaite's rule). On the scale `log` the interval is that of the
    logarithm, so it is positive; on `unexplained` that of -log(1 - R2), so it is below 1. Values that are not finite
    are left out; with fewer than two units the interval is unbounded.
    """
    from scipy.stats import t

    forward, back = SCALES[scale]
    with np.errstate(divide="ignore", invalid="ignore"):
        centre, parts = forward(np.float64(value)), forward(np.asarray(left_out, dtype=np.float64))
    parts = parts[np.isfinite(parts)]
    count = len(parts)
    if count < 2 or not np.isfinite(centre):
        return Interval(value, -np.inf, np.inf)
    squares = (parts - parts.mean()) ** 2
    total = squares.sum()
    if total == 0:
        return Interval(value, value, value)
    kurtosis = count * (squares**2).sum() / total**2
    freedom = min(count - 1.0, max(2 * count / max(kurtosis - 1, 1e-9), 1.0))
    reach = t.ppf((1 + confidence) / 2, freedom) * np.sqrt((count - 1) / count * total)
    return Interval(value, float(back(centre - reach)), float(back(centre + reach)))


def ratio_interval(totals: Array, counts: Array, *, confidence: float, scale: Scale = "linear") -> Interval:
    """sum(totals) / sum(counts) with its jackknife interval over units; units without a count are left out.

    Args:
        totals: a sum by unit, [units].
        counts: the number of summands by unit, [units].

    Raises `ValueError` if fewer than two units have a count.
    """
    there = np.asarray(counts) > 0
    totals, counts = np.asarray(totals)[there], np.asarray(counts)[there]
    if len(counts) < 2:
        raise ValueError(f"{len(counts)} units with a denominator give no interval")
    value = float(totals.sum() / counts.sum())
    return jackknife(value, (totals.sum() - totals) / (counts.sum() - counts), confidence, scale)


def crossed_interval(totals: Array, counts: Array, *, confidence: float) -> Interval:
    """Mean over trainings and units with an interval that holds for other trainings and other units.

    The squares of the two half-widths add up (MOVER, Zou and Donner 2008), each by Student's t: a few trainings have a
    wide one. That counts the interaction twice, so the interval is rather too wide (Owen 2007).

    Args:
        totals: a sum by training and unit, such as right answers in an utterance: [trainings, units], 2 or more each.
        counts: the number of summands by unit, [units].
    """
    from scipy.stats import t

    runs, units = totals.shape
    means, sums = totals.sum(axis=1) / counts.sum(), totals.mean(axis=0)
    value = float(means.mean())
    left_out = (sums.sum() - sums) / (counts.sum() - counts)
    wide = np.asarray(t.ppf((1 + confidence) / 2, [runs - 1, units - 1]))
    reach = float(np.sqrt(wide**2 @ [means.var(ddof=1) / runs, (units - 1) * left_out.var()]))
    return Interval(value, value - reach, value + reach)


def mean_interval(values: Array, units: NDArray[Any], *, confidence: float) -> Interval | None:
    """Mean of `values` [n] with its jackknife interval over whole units (`units` [n], such as speakers).

    None for fewer than two units.
    """
    names, owner = np.unique(units, return_inverse=True)
    if len(names) < 2:
        return None
    totals = np.bincount(owner, weights=values).astype(np.float64, copy=False)
    bounds = ratio_interval(totals, np.bincount(owner).astype(np.float64), confidence=confidence)
    # sums by unit are added in another order than the mean's, so their ratio may differ in the last digit
    return bounds._replace(value=float(values.mean()))


def hedges_g(first: Array, second: Array, confidence: float) -> tuple[Array, Array, Array]:
    """Hedges' g, the standardised difference of means without small-sample bias, and its exact interval.

    The last axis holds the members of each group. The interval inverts the noncentral t distribution (Hedges 1981;
    Steiger and Fouladi 1997), so it holds for normal values of equal variance. 0 [0, 0] where nothing varies.
    """
    from scipy.special import gammaln, nctdtrinc

    n, m = first.shape[-1], second.shape[-1]
    freedom, root = n + m - 2, np.sqrt(n * m / (n + m))
    pooled = ((n - 1) * first.var(axis=-1, ddof=1) + (m - 1) * second.var(axis=-1, ddof=1)) / freedom
    size = np.maximum(np.abs(first).max(axis=-1), np.abs(second).max(axis=-1))
    difference = np.asarray(first.mean(axis=-1) - second.mean(axis=-1))
    # equal values have a variance of rounding errors, not of 0
    varies = pooled > np.square(1e-6 * size)
    d = np.divide(difference, np.sqrt(pooled), out=np.zeros_like(difference), where=varies)
    unbiased = np.exp(gammaln(freedom / 2) - gammaln((freedom - 1) / 2)) / np.sqrt(freedom / 2)
    low, high = (nctdtrinc(freedom, p, d * root) / root for p in ((1 + confidence) / 2, (1 - confidence) / 2))
    return unbiased * d, np.where(varies, low, 0.0), np.where(varies, high, 0.0)


def permute_labels(labels: NDArray[Any], units: NDArray[np.integer], seed: int) -> NDArray[Any]:
    """Labels [n] from other units: each unit takes the sequence of labels of one drawn without replacement.

    A sequence starts at a random frame and is repeated to the length of its new unit. So labels keep how long they
    last and, but for units of unequal length, how frequent they are, and lose their frames. `units` is [n]. Where a
    unit has one label this permutes the labels of units.
    """
    # permuting single frames would break the runs of equal labels and make chance look lower than it is
    rng = np.random.default_rng(seed)
    order = np.argsort(units, kind="stable")  # frames of a unit keep their order
    _, unit, length = np.unique(units[order], return_inverse=True, return_counts=True)
    start = np.cumsum(length) - length
    donor = rng.permutation(len(length))
    offset = rng.integers(length[donor])
    position = np.arange(len(labels)) - start[unit]
    taken = start[donor][unit] + (offset[unit] + position) % length[donor][unit]
    permuted = np.empty_like(labels)
    permuted[order] = labels[order][taken]
    return permuted


def permute_segments(labels: NDArray[Any], units: NDArray[np.integer], seed: int) -> NDArray[Any]:
    """Labels [n] with the segments, runs of one label within a unit, in random order; edges of segments stay.

    A segment swaps its label only with segments of about its length, so labels last about as long as before. Where a
    code is constant within a segment, it still is.
    """
    edges = np.flatnonzero(np.r_[True, (labels[1:] != labels[:-1]) | (units[1:] != units[:-1])])
    lengths = np.diff(np.r_[edges, len(labels)])
    return np.repeat(labels[edges][_swap_alike(lengths, seed)], lengths)


def _swap_alike(lengths: NDArray[np.integer], seed: int, most: int = 20) -> NDArray[np.int64]:
    """A permutation that moves every segment to one of about its length: shuffles within blocks of `most` by rank."""
    rng = np.random.default_rng(seed)
    order = np.lexsort((rng.random(len(lengths)), lengths))
    blocks = np.arange(len(order)) // most
    permuted = np.empty(len(order), dtype=np.int64)
    permuted[order] = order[np.lexsort((rng.random(len(order)), blocks))]
    return permuted
