"""Geometry of whole clips in codec space: pooled vectors, cluster scores, retrieval and projections of words."""

from phonoscope.config.geometry import GeometryConfig
from phonoscope.geometry.jobs import pca
from phonoscope.geometry.pooling import pool, pool_codes
from phonoscope.geometry.scores import cluster_scores
from phonoscope.geometry.study import study_codec
from phonoscope.geometry.words import probe_words, retrieve

__all__ = ["GeometryConfig", "cluster_scores", "pca", "pool", "pool_codes", "probe_words", "retrieve", "study_codec"]
