"""Speaker-independent word retrieval, and a linear probe of the word."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances
from sklearn.model_selection import GroupKFold, cross_val_predict

from phonoscope.config.geometry import GeometryConfig
from phonoscope.errors import DataError
from phonoscope.geometry.leave_out import means_without, speaker_groups
from phonoscope.geometry.scores import PerClip, quadratic_sample
from phonoscope.geometry.silhouette import membership
from phonoscope.stats import Array

logger = logging.getLogger(__name__)

QUERIES = 512  # clips whose distances to all others are in memory at once


def word_sample(words: Sequence[str], config: GeometryConfig) -> NDArray[np.int64]:
    """Rows of a sample of clips for scores of quadratic cost: at most `max_quadratic_clips`."""
    codes = np.unique(np.asarray(words, dtype=str), return_inverse=True)[1]
    return quadratic_sample(np.arange(len(codes)), codes, config)


def retrieve(
    vectors: Any, words: Sequence[str], speakers: Sequence[str], config: GeometryConfig
) -> tuple[PerClip, PerClip]:
    """Average precision at R and 1-NN hit of every clip, retrieved by Euclidean distance among other speakers' clips.

    R is the number of other speakers' clips of the query's word; AP@R is the sum over the ranks i <= R of precision@i
    where rank i is relevant, over R (Musgrave et al. 2020, arXiv:2003.08505, section 3.2). Queries with R = 0 are left
    out. Raises `DataError` if that leaves none.
    """
    rows = word_sample(words, config)
    codes, owners = (np.unique(np.asarray(each, dtype=str)[rows], return_inverse=True)[1] for each in (words, speakers))
    chosen = vectors[rows]
    parts = [
        _queries(chosen, np.arange(start, min(start + QUERIES, len(rows))), codes, owners)
        for start in range(0, len(rows), QUERIES)
    ]
    precision, nearest = (np.concatenate(values, axis=1) for values in zip(*parts, strict=True))
    has_relevant = np.isfinite(precision[0])
    if not has_relevant.any():
        raise DataError("retrieval: no word is said by two speakers; take more clips")
    if not has_relevant.all():
        logger.warning("retrieval: %d clips have no clip of their word by another speaker", (~has_relevant).sum())
    return _per_clip(rows, precision), _per_clip(rows, nearest)


def _per_clip(rows: NDArray[np.int64], values: Array) -> PerClip:
    """Values [1 + groups, n] with all clips and without each group, NaN where a clip has none."""
    there = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        left_out = np.where(there, values, 0)[1:].sum(axis=1) / there[1:].sum(axis=1)
    return PerClip(rows[there[0]], values[0, there[0]], left_out)


def _queries(
    vectors: Any, queries: NDArray[np.int64], codes: NDArray[np.int64], owners: NDArray[np.int64]
) -> tuple[Array, Array]:
    """AP@R and 1-NN hit of some queries, [1 + groups, queries]: among all clips, and without each group of speakers.

    NaN where R = 0 and where the query itself is left out.
    """
    groups = speaker_groups(owners)
    distances = pairwise_distances(vectors[queries], vectors)
    # the query's own speaker, and with it the query, goes to the end of every ranking
    others = owners[queries][:, None] != owners
    distances[~others] = np.inf
    relevant = (codes[queries][:, None] == codes) & others
    by_group = relevant @ membership(groups)
    n_relevant = by_group.sum(axis=1)
    # ranks up to R count, and a clip that is left out moves the others up by one
    depth = int(max(n_relevant.max(), 1) + np.bincount(groups).max())
    # stable: clips at one distance rank in their own order on every machine
    order = np.argsort(distances, axis=1, kind="stable")[:, :depth]
    hits, ranked = np.take_along_axis(relevant, order, axis=1), groups[order]
    scores = [_ranking_scores(hits, np.ones_like(hits), n_relevant)]
    for group in range(groups.max() + 1):
        remaining = np.where(groups[queries] == group, 0, n_relevant - by_group[:, group])
        scores.append(_ranking_scores(hits, ranked != group, remaining))
    precision, nearest = zip(*scores, strict=True)
    return np.array(precision), np.array(nearest)


def _ranking_scores(hits: NDArray[np.bool_], kept: NDArray[np.bool_], n_relevant: NDArray[Any]) -> tuple[Array, Array]:
    """AP@R and 1-NN hit from whether ranked clips are relevant, of the `kept` ones only, [queries, ranks] both."""
    hits = hits & kept
    ranks = np.maximum(np.cumsum(kept, axis=1), 1)
    precision = np.cumsum(hits, axis=1) / ranks * hits * (ranks <= n_relevant[:, None])
    first = np.take_along_axis(hits, kept.argmax(axis=1)[:, None], axis=1)[:, 0]
    with np.errstate(invalid="ignore"):
        return precision.sum(axis=1) / n_relevant, np.where(n_relevant > 0, first, np.nan)


def random_ranking(words: Sequence[str], speakers: Sequence[str]) -> tuple[float, float]:
    """Expected mAP@R and 1-NN accuracy of `retrieve` if other speakers' clips come in random order.

    R of N clips are relevant: rank i is relevant with probability R / N, each rank before it then with
    (R - 1) / (N - 1).
    """
    clips = pd.DataFrame({"word": words, "speaker": speakers})
    same_word = clips.groupby("word")["word"].transform("size")
    same_both = clips.groupby(["word", "speaker"])["word"].transform("size")
    relevant = (same_word - same_both).to_numpy()
    others = len(clips) - clips.groupby("speaker")["word"].transform("size").to_numpy()
    queries = [(int(r), int(n)) for r, n in zip(relevant, others, strict=True) if r]
    precisions = [_expected_precision(r, n) for r, n in queries]
    return float(np.mean(precisions)), float(np.mean([r / n for r, n in queries]))


def _expected_precision(relevant: int, others: int) -> float:
    before = np.arange(relevant)
    at_rank = (1 + before * (relevant - 1) / max(others - 1, 1)) / (before + 1)
    return float(relevant / others * at_rank.mean())


def probe_words(vectors: Any, words: Sequence[str], speakers: Sequence[str], config: GeometryConfig) -> PerClip:
    """Hits (1 or 0 a clip of the sample) of a logistic regression of the word, trained on other speakers.

    Vectors are scaled as a whole to a mean squared norm of 1 about their mean, so the probe sees the same metric as
    the clustering scores. Raises `DataError` for a single speaker, and if the speakers of a training fold say one word
    only.
    """
    rows = word_sample(words, config)
    labels, people = np.asarray(words, dtype=str)[rows], np.asarray(speakers)[rows]
    folds = min(config.probe.folds, len(np.unique(people)))
    if folds < 2:
        raise DataError("the word probe needs two speakers or more; there is one")
    splits = list(GroupKFold(folds).split(labels, groups=people))
    if any(len(np.unique(labels[train])) < 2 for train, _ in splits):
        raise DataError("the word probe: all speakers but those of one fold say one word only; take more clips")
    model, unit = LogisticRegression(C=config.probe.C, max_iter=config.probe.max_iter), _unit_spread(vectors[rows])
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", ConvergenceWarning)
        predicted = cross_val_predict(model, unit, labels, cv=splits)
    unconverged = sum(issubclass(warning.category, ConvergenceWarning) for warning in raised)
    if unconverged:
        logger.info("the word probe stopped before convergence in %d of %d folds", unconverged, folds)
    hits = (predicted == labels).astype(np.float64)
    return PerClip(rows, hits, means_without(hits, speaker_groups(people)))


def _unit_spread(vectors: Any) -> Any:
    """The vectors over the root of their mean squared distance from their mean, centred where that keeps them dense."""
    mean = np.asarray(vectors.mean(axis=0))
    if isinstance(vectors, np.ndarray):
        centred = vectors - mean
        return centred / np.sqrt(np.square(centred).sum(axis=1).mean())
    return vectors / np.sqrt(vectors.multiply(vectors).sum(axis=1).mean() - np.square(mean).sum())
