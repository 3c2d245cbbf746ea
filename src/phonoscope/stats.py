"""Statistics that several parts share: samples, principal components, perplexity, bootstrap intervals."""

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = np.ndarray[Any, np.dtype[np.float64]]


class Interval(NamedTuple):
    """An estimate and its bootstrap interval."""

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


def draw_resamples(units: int, samples: int, seed: int) -> Array:
    """Bootstrap resamples as multiplicities, [samples, units]: how often each unit is drawn, with replacement."""
    shares = np.full(units, 1 / units)
    return np.random.default_rng(seed).multinomial(units, shares, size=samples).astype(np.float64)


def interval(value: float, draws: Array, confidence: float) -> Interval:
    """Percentile interval of bootstrap `draws` [samples]; draws that are NaN are left out."""
    # a resample without a frame of some class has no score; counting it as 0 would pull the lower end down
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return Interval(value, float(low), float(high))


def ratio_interval(totals: Array, counts: Array, *, samples: int, confidence: float, seed: int) -> Interval:
    """sum(totals) / sum(counts) with a percentile bootstrap interval over units (scipy.stats.bootstrap).

    Total and count of a unit, such as an utterance or a speaker, stay together. A resample whose counts are all 0
    takes the value of the whole.

    Args:
        totals: a sum by unit, [units].
        counts: the number of summands by unit, [units].

    Raises `ValueError` for fewer than two units, or if no count is positive.
    """
    from scipy.stats import bootstrap

    if len(totals) < 2 or counts.sum() <= 0:
        raise ValueError(f"{len(totals)} units with a denominator of {counts.sum():g} give no interval")
    value = float(totals.sum() / counts.sum())

    # whole units are drawn, so that the correlation within an utterance or a speaker widens the interval
    def statistic(total: Array, count: Array, axis: int = -1) -> Array:
        below = count.sum(axis=axis)
        return np.where(below > 0, total.sum(axis=axis) / np.where(below > 0, below, 1), value)

    bounds = bootstrap(
        (totals, counts),
        statistic,
        n_resamples=samples,
        confidence_level=confidence,
        paired=True,
        vectorized=True,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return Interval(value, float(bounds.low), float(bounds.high))


def mean_interval(values: Array, units: NDArray[Any], *, samples: int, confidence: float, seed: int) -> Interval | None:
    """Mean of `values` [n] with a bootstrap interval, whole units (`units` [n], such as speakers) being resampled.

    None for fewer than two units.
    """
    names, owner = np.unique(units, return_inverse=True)
    if len(names) < 2:
        return None
    totals = np.bincount(owner, weights=values).astype(np.float64, copy=False)
    counts = np.bincount(owner).astype(np.float64)
    bounds = ratio_interval(totals, counts, samples=samples, confidence=confidence, seed=seed)
    # sums by unit are added in another order than the mean's, so their ratio may differ in the last digit
    return bounds._replace(value=float(values.mean()))


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
