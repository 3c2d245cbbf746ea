"""Windows of one repetition time: codes or mel frames, labelled with word and speaker."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from phonoscope.audio import read_audio, resample
from phonoscope.compute import parallel_map
from phonoscope.errors import NotApplicable

MEL_RATE_HZ = 16_000
MEL_HOP = 160
MEL_FRAME_RATE_HZ = MEL_RATE_HZ / MEL_HOP
NO_WORD = -1  # label of a window that is not of an isolated word


@dataclass(frozen=True)
class Clip:
    """One utterance: frames [channels, frames], speaker, and the word if it is an isolated one, else empty."""

    utterance: str
    frames: NDArray[np.generic]
    speaker: str
    word: str


@dataclass(frozen=True)
class Windows:
    """Windows as arrays; frames from `lengths` on are padding (zeros)."""

    x: NDArray[np.generic]  # [windows, channels, frames]
    lengths: NDArray[np.int64]  # [windows], in frames
    labels: dict[str, NDArray[np.int64]]  # `word` and `speaker`: [windows], indices into `classes`, or `NO_WORD`
    classes: dict[str, list[str]]
    utterances: list[str]

    def subset(self, utterances: Iterable[str]) -> Self:
        """The windows of some utterances."""
        wanted = set(utterances)
        kept = [row for row, utterance in enumerate(self.utterances) if utterance in wanted]
        labels = {task: labels[kept] for task, labels in self.labels.items()}
        names = [self.utterances[row] for row in kept]
        return replace(self, x=self.x[kept], lengths=self.lengths[kept], labels=labels, utterances=names)


def window_bounds(frames: int, frame_rate_hz: float, tr_s: float) -> list[tuple[int, int]]:
    """Start and end (exclusive) of each window of `tr_s` seconds; a frame belongs to the window that holds its start.

    At 75 Hz and 1.5 s (112.5 frames) windows have 113 and 112 frames in turn. The last one may be shorter.
    """
    size = Fraction(str(tr_s)) * Fraction(str(frame_rate_hz))  # exact: floats would drift over long recordings
    edges = [min(frames, math.ceil(size * i)) for i in range(math.ceil(frames / size) + 1)]
    return [(start, stop) for start, stop in pairwise(edges) if stop > start]


def cut_windows(clips: Iterable[Clip], frame_rate_hz: float, tr_s: float, *, sentence_windows: int = 1) -> Windows:
    """Cut utterances into windows of one repetition time.

    An isolated word gives all its windows; any other utterance the first `sentence_windows`, for the speaker only.
    Raises: `NotApplicable` if there is no window of an isolated word, or only one word.
    """
    size = math.ceil(Fraction(str(tr_s)) * Fraction(str(frame_rate_hz)))
    pieces: list[tuple[Clip, NDArray[np.generic]]] = []
    for clip in clips:
        bounds = window_bounds(clip.frames.shape[1], frame_rate_hz, tr_s)
        for start, stop in bounds if clip.word else bounds[:sentence_windows]:
            pieces.append((clip, clip.frames[:, start:stop]))
    classes = {"word": sorted({clip.word for clip, _ in pieces} - {""})}
    if len(classes["word"]) < 2:
        raise NotApplicable("the corpus has fewer than two isolated words; use one with isolated words")
    classes["speaker"] = sorted({clip.speaker for clip, _ in pieces})
    labels = {}
    for task, names in classes.items():
        index = {name: i for i, name in enumerate(names)}
        labels[task] = np.array([index.get(getattr(clip, task), NO_WORD) for clip, _ in pieces], np.int64)
    x = np.zeros((len(pieces), pieces[0][1].shape[0], size), pieces[0][1].dtype)
    for row, (_, piece) in zip(x, pieces, strict=True):
        row[:, : piece.shape[1]] = piece
    lengths = np.array([piece.shape[1] for _, piece in pieces], np.int64)
    return Windows(x, lengths, labels, classes, [clip.utterance for clip, _ in pieces])


def log_mel(samples_16k: NDArray[np.float32], bins: int) -> NDArray[np.float32]:
    """Log-mel spectrogram, 25 ms windows every 10 ms, frame i centred at 10 i ms: [samples] -> [bins, frames]."""
    import torch
    from torchaudio.functional import melscale_fbanks

    samples, window = torch.from_numpy(samples_16k), torch.hann_window(400)
    spectrum = torch.stft(samples, 400, MEL_HOP, window=window, return_complex=True)
    banks = melscale_fbanks(201, 0.0, MEL_RATE_HZ / 2, bins, MEL_RATE_HZ)
    mel: NDArray[np.float32] = (banks.T @ spectrum.abs().square()).clamp(min=1e-10).log().numpy()
    return mel


def read_mel(files: Mapping[str, Path], bins: int, workers: int) -> dict[str, NDArray[np.float32]]:
    """Mel frames [bins, frames] of sound files of any rate, by utterance."""

    def read(file: Path) -> NDArray[np.float32]:
        return log_mel(resample(*read_audio(file), MEL_RATE_HZ), bins)

    frames = parallel_map(read, files.values(), workers=workers, description="mel")
    return dict(zip(files, frames, strict=True))


def standardise(windows: Windows, by: Windows) -> Windows:
    """Windows with each channel scaled to mean 0 and deviation 1 over the frames of `by`; padding stays 0."""
    inside = np.arange(windows.x.shape[2]) < windows.lengths[:, None]
    reference = np.arange(by.x.shape[2]) < by.lengths[:, None]
    # in float64, and over real frames alone: padding would pull the mean to 0
    frames = by.x.transpose(0, 2, 1)[reference].astype(np.float64)
    mean, deviation = frames.mean(axis=0), np.maximum(frames.std(axis=0), 1e-6)
    scaled = (windows.x - mean[:, None]) / deviation[:, None] * inside[:, None]
    return replace(windows, x=scaled.astype(np.float32))
