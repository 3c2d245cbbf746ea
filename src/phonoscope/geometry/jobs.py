"""One representation of one view: its scores in every space, and the spaces: PCA, t-SNE, numerical rank."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from phonoscope.compute import derive_seed, limit_threads
from phonoscope.config.geometry import GeometryConfig
from phonoscope.errors import DataError
from phonoscope.geometry.scores import PerClip, Score, cluster_scores, dense, mean_score
from phonoscope.geometry.words import probe_words, retrieve, word_sample

logger = logging.getLogger(__name__)

FULL_SPACE = "full"
BLOCKS = {"word": "speaker", "speaker": "word"}  # labels that are tested, and what they are permuted within


class Job(NamedTuple):
    """One representation of one view, to be scored."""

    view: str
    name: str
    vectors: Any  # [n, dims], dense or sparse
    labels: dict[str, list[str]]  # by kind, [n] each, empty where a clip is left out; `word` is among them
    speakers: list[str]  # [n]
    drawn: bool  # whether it is projected by PCA and t-SNE


class Entry(NamedTuple):
    """One score and where it belongs."""

    space: str
    label: str
    score: Score
    against: str = ""


class JobResult(NamedTuple):
    entries: list[Entry]
    per_clip: dict[tuple[str, str], PerClip]  # values that are means over clips, by metric and label
    sample: NDArray[np.int64]  # rows of the vectors that have coordinates, [m]
    axes: dict[str, NDArray[Any]]  # coordinates [m] by axis; none where it is not drawn


def score_representation(job: Job, config: GeometryConfig) -> JobResult:
    """All scores of a representation, in one thread: sums of several threads differ from run to run."""
    with limit_threads():
        entries: list[Entry] = []
        per_clip = {}
        for label, values in job.labels.items():
            within = {"speaker": job.speakers, "word": job.labels["word"]}.get(BLOCKS.get(label, ""))
            result = cluster_scores(job.vectors, values, speakers=job.speakers, within=within, config=config)
            entries += [Entry(FULL_SPACE, label, score) for score in (*result.scores, result.null) if score]
            per_clip["silhouette", label] = result.silhouettes
        for metric, clips in _words(job, config).items():
            entries.append(Entry(FULL_SPACE, "word", mean_score(metric, clips, config)))
            per_clip[metric, "word"] = clips
        sample, axes, projected = _project(job, config)
        return JobResult([*entries, *projected], per_clip, sample, axes)


def _words(job: Job, config: GeometryConfig) -> dict[str, PerClip]:
    words, scores = job.labels["word"], {}
    try:
        scores["map_at_r"], scores["nn_accuracy"] = retrieve(job.vectors, words, job.speakers, config)
        scores["probe_accuracy"] = probe_words(job.vectors, words, job.speakers, config)
    except DataError as error:
        logger.warning("view %s, %s: %s", job.view, job.name, error)
    return scores


def _project(job: Job, config: GeometryConfig) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]], list[Entry]]:
    """Rows with coordinates, the coordinates, and the scores in PCA and t-SNE. Explained variance is of all rows."""
    n = len(job.speakers)
    sample = word_sample(job.labels["word"], config)
    entries: list[Entry] = []
    coordinates, shares = pca(job.vectors, 3, derive_seed(config.seed, "pca"))
    spaces: dict[str, tuple[NDArray[Any], NDArray[np.int64]]] = {}
    for size in range(2, len(shares) + 1):
        entries.append(Entry(f"pca_{size}", "", Score("explained_variance", float(shares[:size].sum()), n)))
        spaces[f"pca_{size}"] = coordinates[:, :size], np.arange(n)
    if not job.drawn:
        return sample, {}, entries
    axes = {f"pca_{axis}": coordinates[sample, axis - 1] for axis in range(1, len(shares) + 1)}
    for size in (2, 3):
        points = tsne(job.vectors[sample], size, config)
        if points is not None:
            spaces[f"tsne_{size}"] = points, sample
            axes |= {f"tsne{size}_{axis}": points[:, axis - 1] for axis in range(1, size + 1)}
    # without test and interval, which the full space has
    for space, (coordinates, rows) in spaces.items():
        for label, values in job.labels.items():
            result = cluster_scores(coordinates, [values[row] for row in rows], config=config)
            entries += [Entry(space, label, score) for score in result.scores]
    return sample, axes, entries


def pca(vectors: Any, components: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates [n, c] and shares of variance [c] on the first components, at most `components` of them.

    Exact solvers only: by covariance where there are more clips than dimensions.
    """
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
    # codebooks are float32, whose rounding is near 1e-7
    return int(np.linalg.matrix_rank(array - array.mean(axis=0), rtol=1e-6))
