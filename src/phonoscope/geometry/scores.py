"""Cluster scores of labels: silhouette and Davies-Bouldin with a permutation null and intervals over speakers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import davies_bouldin_score, pairwise_distances, silhouette_samples, silhouette_score
from sklearn.model_selection import GroupKFold
from sklearn.utils import resample

from phonoscope.compute import derive_seed
from phonoscope.config.geometry import GeometryConfig
from phonoscope.errors import DataError, NotApplicable
from phonoscope.stats import mean_interval

logger = logging.getLogger(__name__)

DEFAULT = GeometryConfig()
Bounds = tuple[float | None, float | None]
NO_INTERVAL: Bounds = (None, None)


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
    values: NDArray[np.float64]


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
    permute: bool = True,
    config: GeometryConfig = DEFAULT,
) -> ClusterScores:
    """Silhouette and Davies-Bouldin score (Euclidean, scikit-learn's) of labelled vectors.

    Args:
        vectors: [n, dims], dense or sparse.
        labels: [n]; clips of an empty label, and of a label that only one clip has, are left out and logged.
        speakers: [n]; with them come intervals: for the silhouette a bootstrap of its per-clip values by speaker, for
            Davies-Bouldin, which has none, a jackknife that leaves out groups of speakers.
        permute: whether to compute the silhouette's one-sided p-value under permuted labels.
        config: permutations, permutation_clips, bootstrap, max_quadratic_clips and seed are used.

    Raises `DataError` for fewer than two labels, or vectors that are not finite or not as many as labels.
    """
    kept, codes = usable(labels, what="label")
    if vectors.shape[0] != len(labels):
        raise DataError(f"{vectors.shape[0]} vectors for {len(labels)} labels; give one label a vector")
    if not np.isfinite(vectors if isinstance(vectors, np.ndarray) else vectors.data).all():
        raise DataError("the vectors hold values that are not finite; check the codebooks and latents")
    rows = quadratic_sample(kept, codes, config)
    row_codes = codes[np.searchsorted(kept, rows)]
    silhouettes = PerClip(rows, silhouette_samples(vectors[rows], row_codes))
    # centroids of sparse vectors are dense: those take the sample only
    dense_rows, dense_codes = (kept, codes) if isinstance(vectors, np.ndarray) else (rows, row_codes)
    davies = float(davies_bouldin_score(dense(vectors[dense_rows]), dense_codes))
    p_value, null = _permutation_null(vectors, rows, row_codes, config) if permute else (None, None)
    interval = jackknife = NO_INTERVAL
    if speakers is not None:
        people = np.asarray(speakers)
        interval = speaker_interval(silhouettes.values, people[rows], config)
        jackknife = _davies_bouldin_interval(vectors[dense_rows], dense_codes, people[dense_rows], davies, config)
    silhouette = Score("silhouette", float(silhouettes.values.mean()), len(rows), *interval, p_value)
    return ClusterScores([silhouette, Score("davies_bouldin", davies, len(dense_rows), *jackknife)], silhouettes, null)


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


def _permutation_null(
    vectors: Any, rows: NDArray[np.int64], codes: NDArray[np.int64], config: GeometryConfig
) -> tuple[float | None, Score | None]:
    """One-sided p-value of the silhouette under permuted labels (the observed one counts), and the null's interval."""
    chosen = _sample(np.arange(len(rows)), codes, config.permutation_clips, derive_seed(config.seed, "null"))
    if not 2 <= len(np.unique(codes[chosen])) < len(chosen):
        return None, None  # a sample in which every label occurs once has no silhouette
    # labels move, vectors do not: one matrix of distances serves all permutations
    distances = pairwise_distances(vectors[rows[chosen]])
    np.fill_diagonal(distances, 0)  # rounding leaves more, which scikit-learn refuses
    test = stats.permutation_test(
        (codes[chosen],),
        lambda permuted: silhouette_score(distances, permuted, metric="precomputed"),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=config.permutations,
        vectorized=False,
        rng=np.random.default_rng(derive_seed(config.seed, "permutation")),
    )
    beyond = (1 - config.bootstrap.confidence) / 2
    low, high = np.quantile(test.null_distribution, [beyond, 1 - beyond])
    null = Score("silhouette_null", float(test.null_distribution.mean()), len(chosen), float(low), float(high))
    return float(test.pvalue), null


def speaker_interval(values: NDArray[np.float64], speakers: NDArray[Any], config: GeometryConfig) -> Bounds:
    """Percentile bootstrap interval of the mean of values [m] over whole speakers [m]; none for fewer than two."""
    samples, confidence = config.bootstrap.samples, config.bootstrap.confidence
    seed = derive_seed(config.seed, "bootstrap")
    bounds = mean_interval(values, speakers, samples=samples, confidence=confidence, seed=seed)
    return NO_INTERVAL if bounds is None else (bounds.low, bounds.high)


def mean_score(metric: str, clips: PerClip, speakers: Any, config: GeometryConfig) -> Score:
    """The mean of per-clip values with its interval; `speakers` are those of all rows, not only of the clips."""
    interval = speaker_interval(clips.values, np.asarray(speakers)[clips.rows], config)
    return Score(metric, float(clips.values.mean()), len(clips.rows), *interval)


def _davies_bouldin_interval(
    vectors: Any, codes: NDArray[np.int64], speakers: NDArray[Any], value: float, config: GeometryConfig
) -> Bounds:
    """Delete-a-group jackknife (Efron and Tibshirani 1993, section 11.5) over groups of speakers, Student's t.

    A bootstrap would not do: drawn twice, a clip adds noise to its centroid only, which lowers the score.
    """
    groups = min(10, len(np.unique(speakers)))
    if groups < 3:
        return NO_INTERVAL
    array, left_out = dense(vectors), []
    for rows, _ in GroupKFold(groups).split(array, groups=speakers):
        if len(np.unique(codes[rows])) < 2:
            return NO_INTERVAL
        left_out.append(davies_bouldin_score(array[rows], codes[rows]))
    error = np.sqrt((groups - 1) * np.var(left_out))
    reach = float(stats.t.ppf((1 + config.bootstrap.confidence) / 2, groups - 1) * error)
    return max(value - reach, 0.0), value + reach
