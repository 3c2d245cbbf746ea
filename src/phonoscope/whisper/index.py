"""Labels of every feature row: utterance, frame, phone, word, speaker, sex, accent, split."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from phonoscope.data.labels import Interval, TimeLabels, frame_labels
from phonoscope.whisper.features import text_spans
from phonoscope.whisper.model import FRAME_S, Whisper, frame_count
from phonoscope.whisper.transcript import TextTokens, prompt
from phonoscope.whisper.utterances import Utterance
from phonoscope.whisper.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray


def frame_index(utterances: Sequence[Utterance], labels: TimeLabels) -> pd.DataFrame:
    """A row for every encoder frame of every utterance. `word_index` counts the words of the alignment, -1 outside."""
    return pd.concat([_frames(utterance, labels) for utterance in utterances], ignore_index=True)


def _frames(utterance: Utterance, labels: TimeLabels) -> pd.DataFrame:
    frames, alignment = frame_count(utterance.samples), labels.alignment(utterance.name)
    numbered = [word._replace(label=str(index)) for index, word in enumerate(alignment.words)]
    word_index = centred_labels(_with_gaps(numbered, frames * FRAME_S), frames).astype(np.int16)
    names = np.array([*(word.label for word in alignment.words), ""])  # -1 is the last: no word
    columns = {"phone": centred_labels(alignment.phones, frames), "word": names[word_index], "word_index": word_index}
    return _table(utterance, np.arange(frames), columns)


def centred_labels(intervals: Sequence[Interval], frames: int) -> NDArray[np.str_]:
    """The label that overlaps each Whisper frame most: frame i is centred on 20 i ms, so it starts 10 ms before."""
    half = FRAME_S / 2
    moved = [interval._replace(start_s=interval.start_s + half, end_s=interval.end_s + half) for interval in intervals]
    return frame_labels(moved, frames, 1 / FRAME_S)


def _with_gaps(words: Sequence[Interval], duration_s: float) -> list[Interval]:
    """Words, and the gaps between them as intervals -1: a frame that is mostly gap belongs to no word."""
    edges = [Interval(0.0, 0.0, ""), *words, Interval(duration_s, duration_s, "")]
    gaps = [Interval(one.end_s, other.start_s, "-1") for one, other in pairwise(edges) if other.start_s > one.end_s]
    return sorted([*words, *gaps])


def token_index(
    whisper: Whisper, utterances: Sequence[Utterance], tokens: Sequence[TextTokens], windows: Sequence[Window]
) -> pd.DataFrame:
    """A row for every position of the decoder's input: its token as `word`, no phone.

    The prompt belongs to the first utterance of its window. An utterance longer than the window has no rows.
    """
    tables, start = {}, [whisper.tokenizer.decode([token]) for token in prompt(whisper)]
    for window in windows:
        texts = [tokens[piece.utterance] for piece in window.pieces]
        for piece, text, (first, end) in zip(window.pieces, texts, text_spans(whisper, window, texts), strict=True):
            if not piece.whole:
                continue
            lead = end - first - len(text.ids)
            shown = [*start[:lead], *(str(whisper.tokenizer.decode([token])).strip() for token in text.ids)]
            columns = {"phone": "", "word": shown, "word_index": np.array([-1] * lead + [*text.words], dtype=np.int16)}
            tables[piece.utterance] = _table(utterances[piece.utterance], np.arange(first, end), columns)
    return pd.concat([tables[utterance] for utterance in sorted(tables)], ignore_index=True)


def _table(utterance: Utterance, frames: NDArray[np.integer], columns: dict[str, Any]) -> pd.DataFrame:
    same = {name: getattr(utterance, name) for name in ("speaker", "sex", "accent", "split")}
    return pd.DataFrame({"utterance": utterance.name, "frame": frames.astype(np.int32)} | columns | same)
