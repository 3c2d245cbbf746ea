"""Utterances of a corpus as Whisper takes them, and the windows that its encoder sees at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phonoscope.audio import read_audio, resample
from phonoscope.data import Manifest, Split
from phonoscope.errors import DataError, NotApplicable
from phonoscope.stats import evenly_spaced
from phonoscope.whisper.model import FRAME_SAMPLES, SAMPLE_RATE, WINDOW_S, frame_count
from phonoscope.whisper.transcript import as_sentence

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

GAP_FRAMES = 25  # between utterances that share a window: half a second, as between sentences of one speaker


class Utterance(NamedTuple):
    """An utterance with its audio file and labels."""

    name: str
    file: Path
    text: str  # as Whisper would write it; empty where nothing is said
    speaker: str
    sex: str
    accent: str
    split: str  # train or eval
    samples: int  # at 16 kHz


def list_utterances(manifest: Manifest, split: Split, corpus: Path) -> list[Utterance]:
    """Every utterance of a manifest, in its order; their audio files are below `corpus`."""
    evaluated = set(split.eval)
    return [
        Utterance(
            name=row["utterance"],
            file=corpus / row["path"],
            text=as_sentence(row["text"]) if any(map(str.isalnum, row["text"] or "")) else "",
            speaker=row["speaker"],
            sex=row["sex"],
            accent=row["accent"],
            split="eval" if row["utterance"] in evaluated else "train",
            samples=round(round(row["duration_s"] * row["sample_rate"]) * SAMPLE_RATE / row["sample_rate"]),
        )
        for row in manifest.table.to_dict("records")
    ]


def read_16k(utterance: Utterance) -> NDArray[np.float32]:
    """An utterance's audio at 16 kHz, [samples]. Raises `DataError` if its length is not the manifest's."""
    samples = resample(*read_audio(utterance.file), SAMPLE_RATE)
    if abs(len(samples) - utterance.samples) > 1:  # rounding of the rates
        raise DataError(f"{utterance.file}: {len(samples)} samples at 16 kHz, but {utterance.samples} by the manifest")
    return samples[: utterance.samples]


def eval_utterances(utterances: Sequence[Utterance], count: int) -> list[Utterance]:
    """At most `count` eval utterances with a transcript, evenly spaced. Raises `NotApplicable` if there is none."""
    spoken = [utterance for utterance in utterances if utterance.split == "eval" and utterance.text]
    if not spoken:
        raise NotApplicable("no eval utterance has a transcript; give transcripts or another split")
    return [spoken[index] for index in evenly_spaced(len(spoken), count, "parts")]


class Piece(NamedTuple):
    """An utterance in a window: its frames `skip` to `skip + frames` begin at the window's position `first`."""

    utterance: int
    first: int
    skip: int
    frames: int
    whole: bool  # one that is longer than the window is cut, and has no transcript here


class Window(NamedTuple):
    """Input of the encoder: utterances, and silence up to `positions` of 20 ms each."""

    pieces: tuple[Piece, ...]
    positions: int


def plan_windows(
    lengths: Sequence[int], groups: Sequence[str], *, pack: bool = False, context_s: float = WINDOW_S
) -> list[Window]:
    """Place utterances in windows, sorted by their first utterance; one longer than 30 s is cut.

    Args:
        lengths: samples at 16 kHz of each utterance; `groups`: its speaker.
        pack: fill windows of 30 s with utterances of one speaker, `GAP_FRAMES` of silence between them; else each has a
            window of `context_s`, or of 30 s if it is longer.
    """
    most, alone = (round(seconds * SAMPLE_RATE) // FRAME_SAMPLES for seconds in (WINDOW_S, context_s))
    windows: list[Window] = []
    packed: list[list[Piece]] = []
    latest: dict[str, list[Piece]] = {}
    for utterance, (samples, group) in enumerate(zip(lengths, groups, strict=True)):
        frames = frame_count(samples)
        if frames > most:
            cuts = [Piece(utterance, 0, skip, min(most, frames - skip), whole=False) for skip in range(0, frames, most)]
            windows += [Window((cut,), most) for cut in cuts]
        elif not pack:
            windows.append(Window((Piece(utterance, 0, 0, frames, whole=True),), alone if frames <= alone else most))
        else:
            pieces = latest.get(group, [])
            first = pieces[-1].first + pieces[-1].frames + GAP_FRAMES if pieces else 0
            if not pieces or first + frames > most:
                pieces, first = [], 0
                latest[group] = pieces
                packed.append(pieces)
            pieces.append(Piece(utterance, first, 0, frames, whole=True))
    windows += [Window(tuple(pieces), most) for pieces in packed]
    return sorted(windows, key=lambda window: (window.pieces[0].utterance, window.pieces[0].skip))


def batches(windows: Sequence[Window], seconds: float) -> Iterator[list[Window]]:
    """Windows of one length, at most `seconds` of audio together and at least one, in order within each length."""
    for positions in sorted({window.positions for window in windows}):
        alike = [window for window in windows if window.positions == positions]
        size = max(1, int(seconds * SAMPLE_RATE / FRAME_SAMPLES) // positions)
        yield from (alike[start : start + size] for start in range(0, len(alike), size))


def window_audio(window: Window, read: Callable[[int], NDArray[np.float32]]) -> NDArray[np.float32]:
    """The samples of a window, to the end of its last utterance; `read` gives an utterance at 16 kHz."""
    end = window.pieces[-1].first + window.pieces[-1].frames
    samples = np.zeros(end * FRAME_SAMPLES, dtype=np.float32)
    for piece in window.pieces:
        part = read(piece.utterance)[piece.skip * FRAME_SAMPLES : (piece.skip + piece.frames) * FRAME_SAMPLES]
        start = piece.first * FRAME_SAMPLES
        samples[start : start + len(part)] = part
    return samples


def speech_mask(windows: Sequence[Window]) -> torch.Tensor:
    """Positions with an utterance in windows of one length: bool of shape [windows, positions]."""
    import torch

    mask = torch.zeros(len(windows), windows[0].positions, dtype=torch.bool)
    for row, window in zip(mask, windows, strict=True):
        for piece in window.pieces:
            row[piece.first : piece.first + piece.frames] = True
    return mask
