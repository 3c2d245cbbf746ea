"""PCA and t-SNE of pooled vectors, and their numerical rank."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.config.geometry import GeometryConfig
from phonoscope.geometry.scores import dense

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

RANK_TOLERANCE = 1e-6
"""Singular values below this share of the largest count as 0: codebooks are float32, whose rounding is near 1e-7."""


def pca(vectors: Any, components: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates [n, c] and shares of variance [c] on the first components, at most `components` of them.

    Exact solvers only: by covariance where there are more clips than dimensions.
    """
    from sklearn.decomposition import PCA

    n, dims = vectors.shape
    c = min(components, n - 1, dims)
    if c == dims:
        vectors = dense(vectors)  # arpack, the solver of sparse matrices, finds fewer components than there are columns
    solver = ("covariance_eigh" if dims <= n else "full") if isinstance(vectors, np.ndarray) else "arpack"
    model = PCA(n_components=c, svd_solver=solver, random_state=seed)
    return model.fit_transform(vectors), model.explained_variance_ratio_


def tsne(vectors: NDArray[np.float64], components: int, config: GeometryConfig) -> NDArray[np.float32] | None:
    """t-SNE coordinates [n, components] by cosine distance, perplexity min(configured, n - 1), PCA start, seeded.

    None, logged, where there are not more clips than components, or fewer dimensions.
    """
    from sklearn.manifold import TSNE

    n, dims = vectors.shape
    if n <= components or dims < components:
        logger.warning("t-SNE to %d dimensions is left out: %d clips of %d dimensions", components, n, dims)
        return None
    if n - 1 < config.perplexity:
        logger.warning("t-SNE: %d clips allow no perplexity of %d; %d is taken", n, config.perplexity, n - 1)
    perplexity = float(min(config.perplexity, n - 1))
    model = TSNE(components, perplexity=perplexity, metric="cosine", init="pca", random_state=config.seed)
    return model.fit_transform(vectors)


def numerical_rank(vectors: Any) -> int:
    """Rank of the vectors about their mean [n, dims], with singular values below 1e-6 of the largest counting as 0."""
    array = dense(vectors)
    return int(np.linalg.matrix_rank(array - array.mean(axis=0), rtol=RANK_TOLERANCE))
