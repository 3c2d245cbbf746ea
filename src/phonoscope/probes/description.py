"""How many bits it takes to send labels to someone who has the codes: the online code of Voita and Titov (2020).

Labels are sent block by block; each block is coded by a model fitted on the blocks before it, the first by the uniform
distribution. Codes come from a table, so that the training set of every model is a prefix table.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.probes.solvers import fit_probe
from phonoscope.probes.tables import ClassTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array = np.ndarray[Any, np.dtype[np.float64]]


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
