"""Geometry of whole clips in codec space: pooled vectors, cluster scores, retrieval and projections of words."""

from __future__ import annotations

from phonoscope.config.geometry import GeometryConfig
from phonoscope.geometry.jobs import numerical_rank, pca, tsne
from phonoscope.geometry.pooling import Pooled, pool, pool_codes
from phonoscope.geometry.scores import ClusterScores, cluster_scores
from phonoscope.geometry.study import GeometryResult, study_codec
from phonoscope.geometry.words import probe_words, retrieve

__all__ = [
    "ClusterScores",
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
