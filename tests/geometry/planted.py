"""Codebooks and clips whose words are planted in the codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from phonoscope.config.geometry import GeometryConfig, WordProbeConfig
from phonoscope.data import Codebooks, Tokens
from phonoscope.geometry.jobs import Job, score_representation
from phonoscope.geometry.scores import PerClip, Score, mean_score

BRIEF = GeometryConfig(
    words=("yes", "no"),
    samples_per_word=4,
    permutations=19,
    perplexity=5,
    probe=WordProbeConfig(max_iter=50),
)
"""Settings for tests that look at the form, not at the numbers."""


def affine_codebooks(layers: int = 3, size: int = 16, raw: int = 2, dims: int = 12, seed: int = 0) -> Codebooks:
    """Codebooks like DAC's: in-sum vectors are an affine image, with bias, of the raw rows, rounded to float32."""
    rng = np.random.default_rng(seed)
    stored, summed = [], []
    for _ in range(layers):
        stored.append(rng.normal(size=(size, raw)).astype(np.float32))
        summed.append(stored[-1] @ rng.normal(size=(raw, dims)) + rng.normal(size=dims))
    return Codebooks.from_arrays(summed, stored)


def plain_codebooks(layers: int = 3, size: int = 16, dims: int = 6, seed: int = 0) -> Codebooks:
    """Codebooks like EnCodec's: the raw rows are the in-sum vectors."""
    rng = np.random.default_rng(seed)
    return Codebooks.from_arrays([rng.normal(size=(size, dims)) for _ in range(layers)])


def make_tokens(
    clips: dict[str, NDArray[Any]], size: int = 16, order: Sequence[int] | None = None, batch: int | None = None
) -> Tokens:
    """Tokens of clips, each codes [L, F]; `order` shuffles the rows, `batch` cuts the table into parts."""
    tokens = Tokens.from_arrays(clips, [size] * len(next(iter(clips.values()))))
    table: Any = tokens.source
    if order is not None:
        table = table.take(list(order))
    if batch is not None:
        table = pa.concat_tables([table.slice(start, batch) for start in range(0, len(table), batch)])
    return replace(tokens, source=table)


def said(
    words: Sequence[str] = ("yes", "no", "one"), speakers: int = 4, takes: int = 2, layers: int = 3, size: int = 16
) -> tuple[pd.DataFrame, dict[str, NDArray[Any]]]:
    """Clips of every speaker, word and take, and their codes: half of the frames hold codes that are the word's own."""
    rng = np.random.default_rng(7)
    own = {word: rng.integers(0, size, (layers, 2)) for word in words}
    rows, codes = [], {}
    for speaker in range(speakers):
        for word in words:
            for take in range(takes):
                name = f"s{speaker}-{word}-{take}"
                rows.append((name, word, f"s{speaker}", "FM"[speaker % 2], "en"))
                free = rng.integers(0, size, (layers, 12))
                liked = own[word][:, rng.integers(0, 2, 12)]
                codes[name] = np.where(rng.random(12) < 0.5, liked, free)
    return pd.DataFrame(rows, columns=["utterance", "word", "speaker", "sex", "accent"]), codes


class Spoken(NamedTuple):
    """Vectors of clips, [n, dims], with the word and speaker of each, [n]."""

    vectors: NDArray[np.float64]
    words: list[str]
    speakers: list[str]


def spoken(
    seed: int,
    *,
    speakers: int = 14,
    words: int = 12,
    takes: int = 4,
    dims: int = 8,
    shared: float = 1.0,
    voice: float = 0.5,
    private: float = 0.5,
    noise: float = 0.5,
) -> Spoken:
    """Every speaker says every word `takes` times. Speakers, drawn by `seed`, are a sample; the words are fixed.

    Each number is the standard deviation of a part of a clip's vector: `shared` by all who say the word, `voice` of the
    speaker in all words, `private` to a speaker's takes of a word, `noise` of the take. With shared=0 every speaker
    tells the words apart by vectors that mean nothing for another speaker.
    """
    rng, fixed = np.random.default_rng(seed), np.random.default_rng(1)
    who, what, _ = (grid.ravel() for grid in np.indices((speakers, words, takes)))
    vectors = shared * fixed.normal(size=(words, dims))[what]
    vectors += voice * rng.normal(size=(speakers, dims))[who]
    vectors += private * rng.normal(size=(speakers, words, dims))[who, what]
    vectors += noise * rng.normal(size=vectors.shape)
    return Spoken(vectors, [f"w{word:02d}" for word in what], [f"s{speaker:02d}" for speaker in who])


def scored(clips: Spoken, config: GeometryConfig) -> dict[str, Score]:
    """Every score with an interval, by name: of the vectors, and of all dimensions minus the first half of them."""
    labels = {"word": clips.words, "speaker": clips.speakers}
    half = clips.vectors[:, : clips.vectors.shape[1] // 2]
    whole, part = (
        score_representation(Job("full", "planted", vectors, labels, clips.speakers, False), config)
        for vectors in (clips.vectors, half)
    )
    scores = {f"{score.metric} by {label}": score for _, label, score, _ in whole.entries if score.ci_low is not None}
    for (metric, label), ours in whole.per_clip.items():
        theirs = part.per_clip[metric, label]
        difference = PerClip(ours.rows, ours.values - theirs.values, ours.left_out - theirs.left_out)
        scores[f"{metric} by {label}, difference"] = mean_score(metric, difference, config)
    return {name: score for name, score in scores.items() if score.metric != "silhouette_null"}


def coverage(runs: Sequence[dict[str, Score]]) -> pd.DataFrame:
    """A row a measure: the share of runs whose interval holds the mean over runs, and the share that lie below it."""
    rows = []
    for name in runs[0]:
        scores = [run[name] for run in runs]
        truth = np.mean([score.value for score in scores])
        low, high = (np.array([getattr(score, end) for score in scores]) for end in ("ci_low", "ci_high"))
        rows.append((name, truth, np.mean((low <= truth) & (truth <= high)), np.mean(high < truth), len(runs)))
    return pd.DataFrame(rows, columns=["measure", "truth", "covered", "below", "simulations"])
