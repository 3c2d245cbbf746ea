"""Views: a few words with a few clips each (`notebook`), or every clip of every word (`full`)."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from phonoscope.compute import derive_seed
from phonoscope.config.geometry import GeometryConfig
from phonoscope.errors import NotApplicable

logger = logging.getLogger(__name__)


def choose_views(clips: pd.DataFrame, config: GeometryConfig) -> dict[str, NDArray[np.int64]]:
    """Rows of each view's clips, in the order of `clips` (utterance, word, speaker, sex).

    Words of one clip are left out and logged. Raises `NotApplicable` if a view has fewer than two words.
    """
    counts = clips["word"].value_counts()
    lone = sorted(counts.index[counts == 1])
    if lone:
        logger.warning("words of one clip only are left out: %s", ", ".join(lone))
    present = [word for word in config.words if counts.get(word, 0) > 1]
    absent = [word for word in config.words if word not in present]
    if absent:
        logger.warning("the corpus has no two clips of the words %s", ", ".join(absent))
    if len(present) < 2:
        words = ", ".join(sorted(counts.index[counts > 1])[:20]) or "none"
        raise NotApplicable(f"two words with two clips each are needed; the corpus has {words}")
    views = {"notebook": _notebook_rows(clips, present, config)}
    if config.full_view:
        views["full"] = np.flatnonzero(~clips["word"].isin(lone).to_numpy())
    return views


def _notebook_rows(clips: pd.DataFrame, words: list[str], config: GeometryConfig) -> NDArray[np.int64]:
    """`samples_per_word` rows a word, evenly over speakers, women and men in turn.

    Every word takes the same speakers as far as their clips suffice; the seed draws a speaker's clips. A word of fewer
    clips gives all of them (logged).
    """
    order = _speaker_order(clips)
    chosen: list[int] = []
    for word in words:
        of_word = clips.reset_index(drop=True).query("word == @word")
        ranked = [
            (turn, order[str(speaker)], int(row))
            for speaker, rows in of_word.groupby("speaker", sort=True)
            for turn, row in enumerate(_shuffled(rows, word, str(speaker), config.seed))
        ]
        if len(ranked) < config.samples_per_word:
            logger.warning("%r has %d clips only, all are taken", word, len(ranked))
        chosen += [row for _, _, row in sorted(ranked)[: config.samples_per_word]]
    return np.sort(np.array(chosen, dtype=np.int64))


def _speaker_order(clips: pd.DataFrame) -> dict[str, int]:
    """The rank of every speaker: by turn within the sex, then by sex and name."""
    speakers = clips[["speaker", "sex"]].drop_duplicates("speaker").sort_values("speaker")
    turns = speakers.groupby("sex").cumcount()
    ordered = speakers.assign(turn=turns).sort_values(["turn", "sex", "speaker"])["speaker"]
    return {str(speaker): place for place, speaker in enumerate(ordered)}


def _shuffled(rows: pd.DataFrame, word: str, speaker: str, seed: int) -> NDArray[np.int64]:
    ordered = rows.sort_values("utterance").index.to_numpy()
    return np.random.default_rng(derive_seed(seed, word, speaker)).permutation(ordered)
