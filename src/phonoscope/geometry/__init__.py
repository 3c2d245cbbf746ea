"""Do words cluster in codec space, and under which pooling: vectors of whole clips and their geometry."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phonoscope.geometry.codebooks import Codebooks
    from phonoscope.geometry.config import GeometryConfig
    from phonoscope.geometry.pooling import Pooled, pool, pool_codes
    from phonoscope.geometry.scores import ClusterScores, cluster_scores
    from phonoscope.geometry.spaces import numerical_rank, pca, tsne
    from phonoscope.geometry.study import GeometryResult, study_codec
    from phonoscope.geometry.words import probe_words, retrieve

_MODULES = {
    "codebooks": ("Codebooks",),
    "config": ("GeometryConfig",),
    "pooling": ("Pooled", "pool", "pool_codes"),
    "scores": ("ClusterScores", "cluster_scores"),
    "spaces": ("numerical_rank", "pca", "tsne"),
    "study": ("GeometryResult", "study_codec"),
    "words": ("probe_words", "retrieve"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ClusterScores",
    "Codebooks",
    "GeometryConfig",
    "GeometryResult",
    "Pooled",
    "cluster_scores",
    "numerical_rank",
    "pca",
    "pool",
    "pool_codes",
    "probe_words",
    "retrieve",
    "study_codec",
    "tsne",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that reading the parameters costs no import of NumPy or pandas."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"phonoscope.geometry.{_HOME[name]}"), name)
