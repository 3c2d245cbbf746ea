"""Bits that codes tell of labels: mutual information, and the online code of Voita and Titov (2020).

The code is the number of bits it takes to send labels to someone who has the codes. They are sent block by block; each
block is coded by a model fitted on the blocks before it, the first by the uniform distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.compute import derive_seed
from phonoscope.probes.solvers import fit_probe
from phonoscope.probes.tables import Array, ClassTable, count_pairs
from phonoscope.stats import permute_labels


def pointwise_bits(counts: NDArray[Any]) -> Array:
    """log2 P(code, class) / (P(code) P(class)) of each cell of `counts` [codes, classes]; 0 where a cell is empty."""
    total = counts.sum()
    expected = counts.sum(axis=1, keepdims=True) * (counts.sum(axis=0) / total)
    return np.log2(np.divide(counts, expected, out=np.ones(counts.shape), where=counts > 0))


def plug_in_bits(counts: NDArray[Any]) -> float:
    """Plug-in mutual information of a table in bits; its expectation is above the true value."""
    return float((counts * pointwise_bits(counts)).sum() / counts.sum())


class Information(NamedTuple):
    """Mutual information in bits. `value` is the plug-in estimate less `null`; `entropy` is that of the labels."""

    value: float
    low: float
    high: float
    null: float
    entropy: float


def mutual_information(
    codes: NDArray[np.integer],
    labels: NDArray[np.integer],
    units: NDArray[np.integer],
    shape: tuple[int, int],
    *,
    draws: int,
    seed: int,
    confidence: float = 0.95,
) -> Information:
    """Mutual information of codes and labels, both [n], in units [n] (utterances or speakers) that are independent.

    The bias is taken to be the mean over `draws` of `permute_labels`. The interval is normal; its standard error is
    that of the pointwise information summed by unit, the estimator's influence function, and the null's spread over
    draws. `shape` is (codes, classes).
    """
    from scipy.stats import entropy, norm

    counts = count_pairs(codes, labels, shape)
    plug_in = plug_in_bits(counts)
    nulls = [
        plug_in_bits(count_pairs(codes, permute_labels(labels, units, derive_seed(seed, "labels", draw)), shape))
        for draw in range(draws)
    ]
    # frames of a unit are not independent: what counts is the variance of sums over units
    surplus = np.bincount(units, weights=pointwise_bits(counts)[codes, labels] - plug_in)
    present = max(len(np.unique(units)), 2)
    variance = (surplus**2).sum() * present / (present - 1) / len(codes) ** 2
    # under independence the influence is 0, the estimate's error is not: it is that of the nulls and of their mean
    variance += np.var(nulls, ddof=1) * (1 + 1 / draws)
    value, spread = plug_in - float(np.mean(nulls)), float(norm.isf((1 - confidence) / 2) * np.sqrt(variance))
    bits = float(entropy(counts.sum(axis=0), base=2))
    return Information(value, value - spread, value + spread, float(np.mean(nulls)), bits)


def assign_blocks(sizes: NDArray[np.integer], shares: Sequence[float], seed: int) -> NDArray[np.int64]:
    """The block of each utterance, from its number of frames [utterances], in random order. Shape [utterances].

    `shares` are the rising shares of the frames at which blocks end. Blocks hold whole utterances, whose frames are not
    independent.
    """
    order = np.random.default_rng(seed).permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]
    blocks = np.empty(len(sizes), dtype=np.int64)
    blocks[order] = np.searchsorted(np.asarray(shares[:-1]) * sizes.sum(), before, side="right")
    return blocks


def online_costs(tables: Sequence[NDArray[Any]], predict: Callable[[Array], Array]) -> list[Array]:
    """Bits that a label costs by block, code and class. `tables` are counts [codes, classes], one a block.

    `predict` turns the counts of all earlier blocks into log2 P(class | code). The total is the sum over blocks of
    counts times costs.
    """
    uniform = np.full(tables[0].shape, np.log2(tables[0].shape[1]))
    prefixes = np.cumsum(tables[:-1], axis=0)
    return [uniform, *(-predict(prefix.astype(np.float64)) for prefix in prefixes)]


def linear_log2(counts: Array, codebook: NDArray[Any], *, C: float, max_iter: int, tolerance: float) -> Array:
    """log2 P(class | code) of a linear probe, [codes, classes].

    A frame of each class, spread over codes as the others are, is added, so that a class not seen yet has a price.
    """
    from scipy.special import log_softmax

    prior = counts.sum(axis=1, keepdims=True) / counts.sum()
    names = tuple(f"{column:06d}" for column in range(counts.shape[1]))
    table = ClassTable(names, counts + prior)
    probe = fit_probe(table, codebook, C=C, class_weight="none", max_iter=max_iter, tolerance=tolerance)
    return log_softmax(probe.outputs(codebook), axis=1) / np.log(2)
