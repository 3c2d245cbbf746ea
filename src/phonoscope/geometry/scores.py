"""Cluster scores of labels: silhouette, Davies-Bouldin and separation, with jackknife intervals over speakers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from sklearn.utils import resample

from phonoscope.compute import derive_seed
from phonoscope.config.geometry import GeometryConfig
from phonoscope.errors import DataError, NotApplicable
from phonoscope.geometry.leave_out import bounds, speaker_groups
from phonoscope.geometry.separation import separate
from phonoscope.geometry.silhouette import membership, scorable, silhouettes_without
from phonoscope.stats import Array

logger = logging.getLogger(__name__)

DEFAULT = GeometryConfig()


class Score(NamedTuple):
    """A score with its interval and p-value; None where these are not defined."""

    metric: str
    value: float
    n: int  # number of clips
    ci_low: float | None = None
    ci_high: float | None = None
    p_value: float | None = None


class PerClip(NamedTuple):
    """A score that is a mean over clips: rows of the vectors, [m], and their values, [m]."""

    rows: NDArray[np.int64]
    values: Array
    left_out: Array  # the mean without each group of `speaker_groups`, [groups]; NaN where it is not defined


class ClusterScores(NamedTuple):
    scores: list[Score]
    silhouettes: PerClip
    null: Score | None = None  # the silhouette under permuted labels: its mean and central interval

    @property
    def rows(self) -> pd.DataFrame:
        """The scores as a table: metric, value, n, ci_low, ci_high, p_value."""
        return pd.DataFrame(self.scores, columns=list(Score._fields))


def cluster_scores(
    vectors: Any,
    labels: Sequence[str] | NDArray[Any],
    *,
    speakers: Sequence[str] | NDArray[Any] | None = None,
    within: Sequence[str] | NDArray[Any] | None = None,
    config: GeometryConfig = DEFAULT,
) -> ClusterScores:
    """Silhouette, Davies-Bouldin score (both scikit-learn's) and separation of labelled vectors, by Euclidean distance.

    Args:
        vectors: [n, dims], dense or sparse.
        labels: [n]; clips of an empty label, and of a label that only one clip has, are left out and logged.
        speakers: [n]; with them come intervals: each score is computed again without each speaker.
        within: [n], what labels are permuted within: for words the speakers, for speakers the words. With it and
            `speakers` come the separation, its p-value, and the silhouettes under permuted labels.
        config: confidence, permutations, permutation_clips, max_quadratic_clips and seed are used.

    Raises `DataError` for fewer than two labels, or vectors that are not finite or not as many as labels.
    """
    kept, codes = usable(labels, what="label")
    if vectors.shape[0] != len(labels):
        raise DataError(f"{vectors.shape[0]} vectors for {len(labels)} labels; give one label a vector")
    if not np.isfinite(vectors if isinstance(vectors, np.ndarray) else vectors.data).all():
        raise DataError("the vectors hold values that are not finite; check the codebooks and latents")
    rows = quadratic_sample(kept, codes, config)
    row_codes = codes[np.searchsorted(kept, rows)]
    # without speakers all clips are one group, which gives no interval
    people = np.zeros(len(labels)) if speakers is None else np.asarray(speakers)
    per_clip = PerClip(rows, *silhouettes_without(vectors[rows], row_codes, speaker_groups(people[rows])))
    # centroids of sparse vectors are dense: those take the sample only
    dense_rows, dense_codes = (kept, codes) if isinstance(vectors, np.ndarray) else (rows, row_codes)
    scores = [
        mean_score("silhouette", per_clip, config),
        _davies_bouldin(dense(vectors[dense_rows]), dense_codes, people[dense_rows], config),
    ]
    if speakers is None or within is None:
        return ClusterScores(scores, per_clip)
    shared = _separation(vectors[rows], row_codes, np.asarray(within)[rows], people[rows], config)
    return ClusterScores([*scores, *shared[:1]], per_clip, *shared[1:])


def usable(labels: Sequence[str] | NDArray[Any], *, what: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the clips whose label is not empty and that another clip has too, and their labels as numbers.

    Raises `NotApplicable` if fewer than two labels are left.
    """
    names, codes, counts = np.unique(np.asarray(labels, dtype=object), return_inverse=True, return_counts=True)
    lone = [str(name) for name, count in zip(names, counts, strict=True) if count == 1 and name != ""]
    if lone:
        counted = len(lone), len(names), what, lone[:5]
        logger.warning("%d of %d values of %s have one clip only and are left out: %s", *counted)
    good = (counts > 1) & (names != "")
    if good.sum() < 2:
        present = ", ".join(map(str, names[good])) or "none"
        needed = "two values with two clips each are needed"
        raise NotApplicable(f"{what}: {needed}, there is {present}; take more clips or words")
    kept = np.flatnonzero(good[codes])
    return kept, np.unique(codes[kept], return_inverse=True)[1]


def quadratic_sample(rows: NDArray[np.int64], codes: NDArray[np.int64], config: GeometryConfig) -> NDArray[np.int64]:
    """At most `max_quadratic_clips` of the rows, every label (`codes`, [n]) keeping its share, in order."""
    return _sample(rows, codes, config.max_quadratic_clips, derive_seed(config.seed, "sample"))


def _sample(rows: NDArray[np.int64], codes: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    if len(rows) <= most:
        return rows
    return np.sort(resample(rows, replace=False, n_samples=most, stratify=codes, random_state=seed))


def dense(vectors: Any) -> NDArray[np.float64]:
    return vectors if isinstance(vectors, np.ndarray) else vectors.toarray()


def mean_score(metric: str, clips: PerClip, config: GeometryConfig) -> Score:
    """The mean of per-clip values with its interval."""
    value = float(clips.values.mean())
    return Score(metric, value, len(clips.rows), *bounds(value, clips.left_out, config.confidence))


def _davies_bouldin(
    vectors: NDArray[np.float64], codes: NDArray[np.int64], speakers: NDArray[Any], config: GeometryConfig
) -> Score:
    groups, value = speaker_groups(speakers), davies_bouldin(vectors, codes)
    left_out = [
        davies_bouldin(vectors[rest], codes[rest]) if scorable(codes[rest]) else np.nan
        for rest in (groups != group for group in range(groups.max() + 1))
    ]
    # a logarithm keeps the interval above 0
    return Score("davies_bouldin", value, len(codes), *bounds(value, np.array(left_out), config.confidence, "log"))


def davies_bouldin(vectors: NDArray[np.float64], codes: NDArray[np.int64]) -> float:
    """scikit-learn's Davies-Bouldin score; its function takes many times as long where a label has few clips."""
    codes, counts = np.unique(codes, return_inverse=True, return_counts=True)[1:]
    centroids = membership(codes).T @ vectors / counts[:, None]
    spread = np.bincount(codes, weights=np.linalg.norm(vectors - centroids[codes], axis=1)) / counts
    apart = cdist(centroids, centroids)
    apart[apart == 0] = np.inf  # as scikit-learn does
    return float(((spread[:, None] + spread) / apart).max(axis=1).mean())


def _separation(
    vectors: Any, codes: NDArray[np.int64], within: NDArray[Any], speakers: NDArray[Any], config: GeometryConfig
) -> list[Score]:
    """The separation with its p-value, and the silhouette under permuted labels; empty where there is no test."""
    blocks = np.unique(within, return_inverse=True)[1]
    chosen = _test_sample(codes, blocks, speakers, config)
    told = separate(
        vectors[chosen],
        codes[chosen],
        blocks[chosen],
        speaker_groups(speakers[chosen]),
        permutations=config.permutations,
        seed=derive_seed(config.seed, "permutation"),
    )
    if told is None:
        return []
    beyond = (1 - config.confidence) / 2
    central = map(float, np.quantile(told.silhouettes, [beyond, 1 - beyond]))
    interval = bounds(told.value, told.left_out, config.confidence)
    return [
        Score("separation", told.value, len(chosen), *interval, told.p_value),
        Score("silhouette_null", float(told.silhouettes.mean()), len(chosen), *central),
    ]


def _test_sample(
    codes: NDArray[np.int64], blocks: NDArray[np.int64], speakers: NDArray[Any], config: GeometryConfig
) -> NDArray[np.int64]:
    """At most `permutation_clips` clips: of many speakers some, with all their words; of many takes of a word some.

    A sample of clips alone would leave speakers with one word, whose name cannot be permuted.
    """
    most, seed = config.permutation_clips, derive_seed(config.seed, "null")
    if len(codes) <= most:
        return np.arange(len(codes))
    first, cell = np.unique(np.stack([blocks, codes]), axis=1, return_index=True, return_inverse=True)[1:]
    names, counts = np.unique(speakers[first], return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    drawn = names[order[np.cumsum(counts[order]) <= max(most // 2, counts[order[:2]].sum())]]
    rows = np.flatnonzero(np.isin(speakers, drawn))
    return _sample(rows, cell[rows], most, seed)
