"""Whose every row of the features is: utterance, frame, phone, word, speaker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from phonoscope import paths
from phonoscope.alignment.intervals import fill_gaps
from phonoscope.alignment.textgrid import read_textgrid
from phonoscope.data.labels import Interval, frame_labels
from phonoscope.pipeline.features_io import FRAME_S
from phonoscope.pipeline.listening import Utterance
from phonoscope.whisper.features import text_spans
from phonoscope.whisper.model import Whisper, frame_count
from phonoscope.whisper.transcript import Tokens, prompt
from phonoscope.whisper.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray


def frame_index(spoken: Sequence[Utterance]) -> pd.DataFrame:
    """A row for every encoder frame of every utterance, with its labels."""
    return pd.concat([_frames(utterance) for utterance in spoken], ignore_index=True)


def _frames(utterance: Utterance) -> pd.DataFrame:
    frames = frame_count(utterance.samples)
    grid = read_textgrid((paths.ALIGNMENTS / utterance.path).with_suffix(".TextGrid"))
    numbered = [word._replace(label=str(index)) for index, word in enumerate(grid.words)]
    tiled = fill_gaps(numbered, frames * FRAME_S, filler="-1")
    word_index = centred_labels(tiled, frames).astype(np.int16)
    names = np.array([*(word.label for word in grid.words), ""])  # -1 is the last: no word
    labels = {"phone": centred_labels(grid.phones, frames), "word": names[word_index], "word_index": word_index}
    return _table(utterance, np.arange(frames), labels)


def centred_labels(intervals: Sequence[Interval], frames: int) -> NDArray[np.str_]:
    """The label that overlaps each Whisper frame most: frame i is centred on 20 i ms, so it starts 10 ms before."""
    half = FRAME_S / 2
    moved = [interval._replace(start_s=interval.start_s + half, end_s=interval.end_s + half) for interval in intervals]
    return frame_labels(moved, frames, 1 / FRAME_S)


def token_index(
    whisper: Whisper, spoken: Sequence[Utterance], tokens: Sequence[Tokens], windows: Sequence[Window]
) -> pd.DataFrame:
    """A row for every position of the decoder's input: its token as `word`, no phone.

    The prompt belongs to the first utterance of its window. An utterance longer than the window has no rows.
    """
    tables, start = {}, [whisper.tokenizer.decode([token]) for token in prompt(whisper)]
    for window in windows:
        spans = text_spans(whisper, window, [tokens[piece.utterance] for piece in window.pieces])
        for piece, (first, end) in zip(window.pieces, spans, strict=True):
            own = tokens[piece.utterance]
            lead = max(0, end - first - len(own.ids))
            shown = [*start[:lead], *(str(whisper.tokenizer.decode([token])).strip() for token in own.ids)]
            labels = {"phone": "", "word": shown, "word_index": np.array([-1] * lead + [*own.words], dtype=np.int16)}
            if piece.whole:
                tables[piece.utterance] = _table(spoken[piece.utterance], np.arange(first, end), labels)
    return pd.concat([tables[utterance] for utterance in sorted(tables)], ignore_index=True)


def _table(utterance: Utterance, frames: NDArray[np.integer], labels: dict[str, Any]) -> pd.DataFrame:
    whose = {name: getattr(utterance, name) for name in ("speaker", "sex", "accent", "split")}
    return pd.DataFrame({"utterance": utterance.name, "frame": frames.astype(np.int32)} | labels | whose)
