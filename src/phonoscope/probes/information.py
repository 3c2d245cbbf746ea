"""Bits that codes tell of labels: mutual information, and the online code of Voita and Titov (2020).

Frames of one segment are far from independent, so the plug-in estimate of mutual information is too high by an amount
that no formula for independent frames gives. Two estimates stand beside each other:

- `null_bits` is the plug-in estimate after the segments' labels were permuted. The estimate less this is right where
  codes and labels are independent. Where they are not, its bias is not known, so it has no interval.
- `held_out_bits` is a lower bound: the bits that a prediction from the code saves on utterances it has not seen. It is
  too low where there are too few train frames to learn which labels a code has.

The online code is the number of bits it takes to send labels to someone who has the codes. They are sent block by
block; each block is coded by a model fitted on the blocks before it, the first by the uniform distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.compute import derive_seed
from phonoscope.probes.solvers import fit_probe
from phonoscope.probes.tables import Array, ClassTable, count_pairs
from phonoscope.stats import permute_segments


def pointwise_bits(counts: NDArray[Any]) -> Array:
    """log2 P(code, class) / (P(code) P(class)) of each cell of `counts` [codes, classes]; 0 where a cell is empty."""
    total = counts.sum()
    expected = counts.sum(axis=1, keepdims=True) * (counts.sum(axis=0) / total)
    return np.log2(np.divide(counts, expected, out=np.ones(counts.shape), where=counts > 0))


def plug_in_bits(counts: NDArray[Any]) -> float:
    """Plug-in mutual information of a table in bits; its expectation is above the true value."""
    return float((counts * pointwise_bits(counts)).sum() / counts.sum())


def null_bits(
    codes: NDArray[np.integer],
    labels: NDArray[np.integer],
    utterances: NDArray[np.integer],
    shape: tuple[int, int],
    *,
    draws: int,
    seed: int,
) -> float:
    """Mean plug-in estimate over `draws` permutations of whole segments; arrays [n], `shape` is (codes, classes)."""
    permuted = (permute_segments(labels, utterances, derive_seed(seed, "labels", draw)) for draw in range(draws))
    return float(np.mean([plug_in_bits(count_pairs(codes, labels, shape)) for labels in permuted]))


class Bits(NamedTuple):
    """Bits saved on the frames of each unit and their number, [units with frames] each; the labels' entropy."""

    bits: Array
    frames: Array
    entropy: float


SMOOTHING = np.logspace(-2, 4, 25)  # pseudo-frames a code that are tried


def held_out_bits(
    codes: NDArray[np.integer],
    labels: NDArray[np.integer],
    units: NDArray[np.integer],
    shape: tuple[int, int],
    *,
    folds: int,
    seed: int,
) -> Bits:
    """Bits that P(label | code) saves compared with P(label), on frames of units held out in turn.

    The mean per frame is a lower bound of the mutual information (Barber and Agakov 2003), apart from the error of the
    estimated P(label). Units are utterances or speakers. P(label | code) is the frequency in train, smoothed towards
    P(label) by the number of pseudo-frames that is best on another fold. Arrays are [n], `shape` is (codes, classes).
    """
    from scipy.stats import entropy

    names, owner = np.unique(units, return_inverse=True)
    parts = min(folds, len(names))
    fold_of = np.random.default_rng(derive_seed(seed, "folds")).permutation(len(names)) % parts
    fold = fold_of[owner]
    tables = np.stack([count_pairs(codes[fold == part], labels[fold == part], shape) for part in range(parts)])
    whole, saved = tables.sum(axis=0), np.empty(len(codes))
    for part in range(parts):
        judge = tables[(part + 1) % parts]
        chosen = max(SMOOTHING, key=lambda a: (judge * log_ratio(whole - tables[part] - judge, a)).sum())
        rows = fold == part
        saved[rows] = log_ratio(whole - tables[part], chosen)[codes[rows], labels[rows]]
    bits = np.bincount(owner, weights=saved).astype(np.float64, copy=False)
    return Bits(bits, np.bincount(owner).astype(np.float64), float(entropy(whole.sum(axis=0), base=2)))


def log_ratio(counts: NDArray[np.integer], smoothing: float) -> Array:
    """log2 P(label | code) / P(label) of counts [codes, classes], with `smoothing` pseudo-frames a code by P(label)."""
    classes = counts.shape[1]
    marginal = (counts.sum(axis=0) + 0.5) / (counts.sum() + 0.5 * classes)
    given = (counts + smoothing * marginal) / (counts.sum(axis=1, keepdims=True) + smoothing)
    return np.log2(given / marginal)


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
