"""Silhouettes from sums of distances by label, so that a speaker can be left out without new distances."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.metrics import pairwise_distances_chunked

from phonoscope.stats import Array


def membership(codes: NDArray[np.int64]) -> csr_array:
    """The matrix [n, labels] that is 1 at a clip's label and 0 elsewhere."""
    return csr_array((np.ones(len(codes)), (np.arange(len(codes)), codes)))


def silhouettes(sums: Array, counts: NDArray[Any], codes: NDArray[np.int64]) -> Array:
    """scikit-learn's silhouette of each clip [n], 0 for a label of one clip.

    Args:
        sums: distances of a clip to the clips of each label, added up, [n, labels].
        counts: clips of each label, [labels]; 0 for a label that nobody has.
        codes: labels of the clips, [n].
    """
    own = np.arange(len(codes)), codes
    with np.errstate(divide="ignore", invalid="ignore"):
        inner = sums[own] / (counts[codes] - 1)
        others = np.where(counts > 0, sums / counts, np.inf)
        others[own] = np.inf
        outer = others.min(axis=1)
        values = np.nan_to_num((outer - inner) / np.maximum(inner, outer))
    return np.where(counts[codes] > 1, values, 0.0)


def scorable(codes: NDArray[np.int64]) -> bool:
    """Whether there are two labels or more, and one of them has two clips."""
    return 2 <= len(np.unique(codes)) < len(codes)


def silhouettes_without(vectors: Any, codes: NDArray[np.int64], groups: NDArray[np.int64]) -> tuple[Array, Array]:
    """Silhouettes of all clips [n] by Euclidean distance, and their mean without each group, [groups].

    NaN where fewer than two labels are left. `codes` [n] are the labels, `groups` [n] those of `speaker_groups`.
    """
    (group, label), part, size = np.unique(np.stack([groups, codes]), axis=1, return_inverse=True, return_counts=True)
    belongs = membership(part)  # to one group and label
    chunks = pairwise_distances_chunked(vectors, reduce_func=lambda distances, _: distances @ belongs)
    by_part = np.concatenate(list(chunks))
    sums, counts = by_part @ membership(label), np.bincount(codes)
    left_out = []
    for number in range(groups.max() + 1):
        kept, gone = groups != number, group == number
        remaining, there = sums.copy(), counts.copy()
        remaining[:, label[gone]] -= by_part[:, gone]
        there[label[gone]] -= size[gone]
        defined = scorable(codes[kept])
        left_out.append(silhouettes(remaining[kept], there, codes[kept]).mean() if defined else np.nan)
    return silhouettes(sums, counts, codes), np.array(left_out)
