"""Whether a label is shared: words across speakers, or a speaker's voice across words, with a permutation test.

The clips of one speaker and one word are a cell. Its takes resemble each other whatever else is true, so they are no
evidence: only cells of different speakers (for words) or of different words (for speakers) are compared, and the test
gives whole cells other names. A word's name is drawn anew within each speaker. That changes nothing in distribution if
words share nothing across speakers, even where every speaker tells the words apart. Speakers' names are drawn anew
within each word, for the same reason.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances

from phonoscope.geometry.silhouette import membership, silhouettes
from phonoscope.stats import Array


class Separation(NamedTuple):
    """How much nearer clips of one label are, between blocks, and what other names of the cells give."""

    value: float
    left_out: Array  # the value without each group of speakers, [groups]; NaN where it is not defined
    p_value: float  # one-sided; the observed value counts as one of the permutations
    silhouettes: Array  # mean silhouette by the permuted labels, [permutations]


def separate(
    vectors: Any,
    codes: NDArray[np.int64],
    blocks: NDArray[np.int64],
    groups: NDArray[np.int64],
    *,
    permutations: int,
    seed: int,
) -> Separation | None:
    """1 - (mean distance of equal labels) / (mean distance of different labels), both between blocks.

    It is about 0 where labels share nothing across blocks, and 1 where the clips of a label coincide. Every pair of
    cells counts alike, however many takes they have. None where no label is in two blocks, or no block has two labels.

    Args:
        vectors: [n, dims], dense or sparse.
        codes: labels, [n]; words, or speakers.
        blocks: what labels are permuted within, [n]; for words the speakers, for speakers the words.
        groups: those of `speaker_groups`, [n].
    """
    (block, label), first, cell, size = np.unique(
        np.stack([blocks, codes]), axis=1, return_index=True, return_inverse=True, return_counts=True
    )
    distances = pairwise_distances(vectors)
    np.fill_diagonal(distances, 0)  # rounding leaves more
    belongs = membership(cell)
    sums = distances @ belongs
    means, apart = (belongs.T @ sums) / np.outer(size, size), block[:, None] != block
    value = _separation(means, apart, label)
    if not np.isfinite(value) or len(block) == len(np.unique(block)):
        return None
    # cells are sorted by block, so an order within blocks gives every cell a label of its block
    rng = np.random.default_rng(seed)
    permuted = label[np.argsort(block + rng.random((permutations, len(block))), axis=1)]
    others = np.array([_separation(means, apart, each) for each in permuted])
    # sums in another order differ in the last digits; equal arrangements are equal
    p_value = (1 + np.sum(others >= value - 1e-9 * max(abs(value), 1e-3))) / (1 + permutations)
    null = [
        silhouettes(sums @ membership(each), np.bincount(each, weights=size), each[cell]).mean() for each in permuted
    ]
    left_out = []
    for number in range(groups.max() + 1):
        kept = groups[first] != number
        left_out.append(_separation(means[np.ix_(kept, kept)], apart[np.ix_(kept, kept)], label[kept]))
    return Separation(value, np.array(left_out), float(p_value), np.array(null))


def _separation(means: Array, apart: NDArray[np.bool_], label: NDArray[np.int64]) -> float:
    """The value from mean distances of cells [cells, cells]; NaN where there are no pairs."""
    same = apart & (label[:, None] == label)
    near, far = means[same], means[apart & ~same]
    return float(1 - near.mean() / far.mean()) if len(near) and len(far) and far.any() else float("nan")
