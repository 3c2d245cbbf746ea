"""Whether two trainings that differ in seed and order of frames learn the same features."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

COSINES = (0.7, 0.9)
CORRELATION = 0.7
BLOCK = 512  # rows compared at once


def decoder_matches(first: NDArray[np.floating], second: NDArray[np.floating]) -> NDArray[np.float64]:
    """The highest cosine of each row of `first` [features, d] with a row of `second`: [features]."""
    one, other = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (first, second))
    return np.concatenate([(one[start : start + BLOCK] @ other.T).max(axis=1) for start in range(0, len(one), BLOCK)])


def twins(first: sp.csr_array, second: sp.csr_array) -> NDArray[np.float64]:
    """The highest correlation of each column of `first` [frames, features] with a column of `second`; 0 if constant."""
    frames = first.shape[0]
    sums = [np.asarray(each.sum(axis=0, dtype=np.float64)) for each in (first, second)]
    squares = [np.asarray(each.multiply(each).sum(axis=0, dtype=np.float64)) for each in (first, second)]
    spread = [np.sqrt(np.maximum(square - total**2 / frames, 0)) for square, total in zip(squares, sums, strict=True)]
    product = (first.astype(np.float64).T @ second.astype(np.float64)).toarray() - np.outer(*sums) / frames
    scale = np.outer(*spread)
    return np.divide(product, scale, out=np.zeros_like(product), where=scale > 1e-9).max(axis=1)


def stability(
    decoders: tuple[NDArray[np.floating], NDArray[np.floating]],
    activations: tuple[sp.csr_array, sp.csr_array],
    detectors: NDArray[np.int64],
) -> dict[str, float]:
    """Shares of the first training's features that the second one has too.

    Args:
        decoders: decoder rows [features, d_out] of both trainings.
        activations: of both on the same held-out frames, [frames, features].
        detectors: features of the first that are the best of a phone.
    Returns:
        rows_07 and rows_09: of the features that fire, those with a decoder row of cosine above 0.7 and 0.9;
        detectors_07: of the detectors, those with a feature of correlation above 0.7; NaN without one.
    """
    live = [np.flatnonzero(each.count_nonzero(axis=0)) for each in activations]
    matches = decoder_matches(*(rows[alive] for rows, alive in zip(decoders, live, strict=True)))
    shares = {f"rows_{cosine:.1f}".replace(".", ""): float((matches > cosine).mean()) for cosine in COSINES}
    if not len(detectors):
        return shares | {"detectors_07": np.nan}
    correlations = twins(activations[0][:, np.unique(detectors)], activations[1])
    return shares | {"detectors_07": float((correlations > CORRELATION).mean())}
