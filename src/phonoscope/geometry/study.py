"""One codec: scores, spaces and ranks of every representation, in both views."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from phonoscope.compute import parallel_map
from phonoscope.config.geometry import GeometryConfig
from phonoscope.data.codebooks import Codebooks
from phonoscope.data.tokens import Tokens
from phonoscope.errors import DataError
from phonoscope.geometry.jobs import FULL_SPACE, Entry, Job, JobResult, numerical_rank, score_representation
from phonoscope.geometry.pooling import Pooled, compact_width, pool
from phonoscope.geometry.scores import PerClip, Score, mean_score, usable
from phonoscope.geometry.views import choose_views
from phonoscope.geometry.words import random_ranking, word_sample
from phonoscope.stats import evenly_spaced

logger = logging.getLogger(__name__)

COLUMNS = (
    *("codec", "view", "representation", "same_as", "dims", "space", "label", "metric", "against"),
    *("value", "ci_low", "ci_high", "p_value", "n"),
)
CLIP_COLUMNS = ("view", "utterance", "word", "speaker", "sex", "accent", "frames")
AXES = ("pca_1", "pca_2", "pca_3", "tsne2_1", "tsne2_2", "tsne3_1", "tsne3_2", "tsne3_3")
COORDINATE_COLUMNS = ("view", "representation", "utterance", *AXES)
LABELS = ("word", "speaker", "sex")
PAIRS = (("projections_concat", "latent_sum"), ("projections_concat", "codes_concat"), ("codes_concat", "codes_mean"))
"""Pairs compared clip by clip: the first minus the second."""
COMPARED = (
    *(("silhouette", label) for label in ("word", "speaker")),
    *((metric, "word") for metric in ("map_at_r", "nn_accuracy", "probe_accuracy")),
)
MOST_NUMBERS = 2**28  # of all clips' vectors, 2 GiB; at DAC's width there is room for 600,000 clips
RANK_CLIPS = 1000  # clips at most on which a rank is measured, at the representation's full width


class GeometryResult(NamedTuple):
    """Tables of one codec."""

    rows: pd.DataFrame  # tidy scores with the columns `COLUMNS`
    clips: pd.DataFrame  # a row a view and clip, with the columns `CLIP_COLUMNS`
    coordinates: pd.DataFrame  # a row a view, drawn representation and clip; `COORDINATE_COLUMNS`, axes float32


class _View(NamedTuple):
    name: str
    clips: pd.DataFrame
    pooled: Pooled
    results: dict[str, JobResult]  # by representation, those that coincide with another one left out
    ranks: dict[str, tuple[int, int]]  # by representation: rank, and clips it was measured on

    def source(self, name: str) -> str:
        """The representation that was computed for this one: itself, or the one that it coincides with."""
        alias = self.pooled.same_as.get(name)
        return name if alias is None else alias.of


def study_codec(
    tokens: Tokens,
    codebooks: Codebooks,
    clips: pd.DataFrame,
    config: GeometryConfig,
    *,
    codec: str,
    latents: Path | None = None,
    workers: int = 1,
) -> GeometryResult:
    """Score every representation of a codec's isolated words.

    Args:
        tokens, codebooks, latents: as `pool` takes them.
        clips: a row an isolated word: utterance, word, speaker, sex, accent. Without any the result is empty.

    `workers` changes no number. Raises `DataError` as `pool` and `choose_views` do.
    """
    if clips.empty:
        logger.warning("the corpus has no isolated words: nothing to score")
        return _result([], codec, config)
    clips = _affordable(clips, codebooks, config)
    pooled = pool(tokens, codebooks, list(clips["utterance"]), config.representations, compact=True, latents=latents)
    for name, alias in pooled.same_as.items():
        logger.info("%s: %s is %g times %s, computed once", codec, name, alias.factor, alias.of)
    clips = clips.set_index("utterance").loc[pooled.utterances].reset_index().assign(frames=pooled.frames)
    views = [
        _View(name, clips.iloc[rows].reset_index(drop=True), pooled.take(rows), {}, {})
        for name, rows in choose_views(clips, config).items()
    ]
    jobs = [job for view in views for job in _jobs(view, config)]
    jobs.sort(key=lambda job: -len(job.speakers) * (1 + job.drawn))  # the longest first, so that workers end together
    results = parallel_map(partial(score_representation, config=config), jobs, workers=workers, description="geometry")
    for view in views:
        results_of = zip(jobs, results, strict=True)
        view.results.update({job.name: result for job, result in results_of if job.view == view.name})
        view.ranks.update(_ranks(view, tokens, codebooks))
    return _result(views, codec, config)


def _affordable(clips: pd.DataFrame, codebooks: Codebooks, config: GeometryConfig) -> pd.DataFrame:
    """The clips, or a sample of them where all their vectors would not fit into memory; logged."""
    width = compact_width(config.representations, codebooks)
    if len(clips) * width <= MOST_NUMBERS:
        return clips
    rows = word_sample(clips["word"].tolist(), config)
    logger.warning("%d of %d clips are taken: a clip's vectors are %d numbers", len(rows), len(clips), width)
    return clips.iloc[rows].reset_index(drop=True)


def _jobs(view: _View, config: GeometryConfig) -> Iterator[Job]:
    """The work of one view, a representation a job; labels that cannot be scored are named and left out."""
    labels = {}
    for label in LABELS:
        values = view.clips[label].fillna("").astype(str).to_numpy(dtype=object)
        try:
            kept, _ = usable(values, what=f"view {view.name}, {label}")
        except DataError as error:
            if label == "word":
                raise
            logger.warning("no scores by %s: %s", label, error)
            continue
        labels[label] = [str(value) for value in np.where(np.isin(np.arange(len(values)), kept), values, "")]
    speakers, drawn = view.clips["speaker"].astype(str).tolist(), {view.source(name) for name in config.projections}
    for name, vectors in view.pooled.vectors.items():
        yield Job(view.name, name, vectors, labels, speakers, name in drawn)


def _ranks(view: _View, tokens: Tokens, codebooks: Codebooks) -> dict[str, tuple[int, int]]:
    """Ranks measured at full width, where nothing is left out beforehand."""
    rows = evenly_spaced(len(view.clips), RANK_CLIPS)
    sample = view.pooled.take(rows)
    pooled_names = [name for name in sample.vectors if name != "latent"]
    wide = pool(tokens, codebooks, sample.utterances, pooled_names).vectors if pooled_names else {}
    return {name: (numerical_rank(wide.get(name, sample.vectors[name])), len(rows)) for name in sample.vectors}


def _result(views: list[_View], codec: str, config: GeometryConfig) -> GeometryResult:
    names = [(view, name) for view in views for name in view.pooled.dims]
    rows = [(codec, view.name, *row) for view, name in names for row in _rows(view, name, config)]
    clips = [view.clips.assign(view=view.name)[list(CLIP_COLUMNS)] for view in views]
    points = [_points(view, name, result) for view in views for name, result in view.results.items() if result.axes]
    return GeometryResult(
        pd.DataFrame(rows, columns=list(COLUMNS)),
        pd.concat(clips, ignore_index=True) if clips else pd.DataFrame(columns=list(CLIP_COLUMNS)),
        pd.concat(points, ignore_index=True) if points else pd.DataFrame(columns=list(COORDINATE_COLUMNS)),
    )


def _points(view: _View, name: str, result: JobResult) -> pd.DataFrame:
    axes = pd.DataFrame(result.axes).reindex(columns=list(AXES)).astype(np.float32)
    utterances = view.clips["utterance"].to_numpy()[result.sample]
    return axes.assign(view=view.name, representation=name, utterance=utterances)[list(COORDINATE_COLUMNS)]


def _rows(view: _View, name: str, config: GeometryConfig) -> Iterator[tuple[Any, ...]]:
    """Rows of one representation, from the column `representation` on; an alias repeats the rows of its source."""
    source, dims = view.source(name), view.pooled.dims[name]
    entries = [*view.results[source].entries, *_references(view, name), *_differences(view, name, config)]
    for space, label, score, against in entries:
        head = name, source if source != name else "", dims, space, label, score.metric, against
        yield (*head, score.value, score.ci_low, score.ci_high, score.p_value, score.n)


def _references(view: _View, name: str) -> Iterator[Entry]:
    """Reference values: rank with its bound, the accuracy of always saying one word, and random retrieval."""
    (rank, clips), n = view.ranks[view.source(name)], len(view.clips)
    words, speakers = (view.clips[column].astype(str) for column in ("word", "speaker"))
    yield Entry(FULL_SPACE, "", Score("rank", rank, clips))
    yield Entry(FULL_SPACE, "", Score("rank_bound", min(view.pooled.rank_bounds[name], clips - 1), clips))
    yield Entry(FULL_SPACE, "word", Score("chance", float(words.value_counts(normalize=True).max()), n))
    if speakers.nunique() > 1:
        expected = random_ranking(words.tolist(), speakers.tolist())
        for metric, value in zip(("map_at_r_null", "nn_accuracy_null"), expected, strict=True):
            yield Entry(FULL_SPACE, "word", Score(metric, value, n))


def _differences(view: _View, name: str, config: GeometryConfig) -> Iterator[Entry]:
    """Paired differences to other representations, with intervals over speakers."""
    for other in [other for first, other in PAIRS if first == name and other in view.pooled.dims]:
        pair = [view.results[view.source(each)].per_clip for each in (name, other)]
        for metric, label in COMPARED if view.source(name) != view.source(other) else ():
            ours, theirs = (clips.get((metric, label)) for clips in pair)
            if ours is not None and theirs is not None:
                difference = PerClip(ours.rows, ours.values - theirs.values, ours.left_out - theirs.left_out)
                score = mean_score(f"{metric}_difference", difference, config)
                yield Entry(FULL_SPACE, label, score, other)
