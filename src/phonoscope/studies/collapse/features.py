"""Log-mel features of isolated words: computed once; batched and augmented in every run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from phonoscope.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WINDOW_S = 0.032
HOP_S = 0.02
FLOOR = 1e-6
"""Added to the power before the logarithm."""


@dataclass(frozen=True)
class Clips:
    """Log-mel frames of clips, one clip after another."""

    mel: NDArray[np.float32]
    """[frames of all clips, mels]"""
    bounds: NDArray[np.int64]
    """[clips + 1]: clip c has the frames bounds[c] to bounds[c + 1] (exclusive)."""
    labels: NDArray[np.int64]
    """[clips]: class indices."""

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, clips: NDArray[np.int64]) -> Batch:
        """A batch of clips by index, padded with zeros to the longest."""
        starts, lengths = self.bounds[clips], np.diff(self.bounds)[clips]
        ticks = np.arange(lengths.max())
        rows = np.minimum(starts[:, None] + ticks, len(self.mel) - 1)
        real = ticks < lengths[:, None]
        mel = torch.from_numpy(np.where(real[..., None], self.mel[rows], np.float32(0)))
        return Batch(mel, torch.from_numpy(lengths.astype(np.int64)), torch.from_numpy(self.labels[clips]))


@dataclass(frozen=True)
class Batch:
    """mel [B, T, mels] float32, zero from each clip's length on; lengths [B] and labels [B], int64."""

    mel: Tensor
    lengths: Tensor
    labels: Tensor


class LogMel:
    """Log-mel spectrogram at 50 Hz of audio at one rate: [samples] -> [frames, mels]."""

    def __init__(self, sample_rate_hz: int, mels: int) -> None:
        from torchaudio.transforms import MelSpectrogram

        self.hop = round(HOP_S * sample_rate_hz)
        window = round(WINDOW_S * sample_rate_hz)
        self.spectrogram = MelSpectrogram(
            sample_rate_hz,
            n_fft=2 ** (window - 1).bit_length() * 2,
            win_length=window,
            hop_length=self.hop,
            n_mels=mels,
        )

    def __call__(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        power: Tensor = self.spectrogram(torch.from_numpy(samples))
        return (power + FLOOR).log().T.numpy()


def gather(
    audio: Sequence[NDArray[np.float32]], labels: Sequence[int], sample_rate_hz: int, mels: int
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
    """Log-mel frames [frames, mels], bounds [clips + 1] and labels [clips] of clips of audio."""
    log_mel = LogMel(sample_rate_hz, mels)
    parts = [log_mel(samples) for samples in audio]
    bounds = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    return np.concatenate(parts), bounds, np.asarray(labels, dtype=np.int64)


def digit_clips(
    train: tuple[Sequence[NDArray[np.float32]], Sequence[int]],
    held_out: tuple[Sequence[NDArray[np.float32]], Sequence[int]],
    sample_rate_hz: int,
    mels: int,
) -> tuple[Clips, Clips]:
    """The clips of train and eval, given as (audio, labels), with every mel band standardised by the train clips.

    Raises: `DataError` if train has fewer than two classes, or eval has no clip.
    """
    if len(set(train[1])) < 2:
        raise DataError(
            f"the train split has {len(set(train[1]))} digit classes in {len(train[1])} clips, and a classifier needs "
            "two; use a corpus with isolated digits, such as espeak, fsdd or speech_commands"
        )
    if not held_out[1]:
        raise DataError("the eval split has no isolated digit; hold out more utterances, or use a corpus with more")
    mel, bounds, labels = gather(*train, sample_rate_hz, mels)
    mean, spread = mel.mean(axis=0), mel.std(axis=0) + 1e-5
    other, other_bounds, other_labels = gather(*held_out, sample_rate_hz, mels)
    return (
        Clips((mel - mean) / spread, bounds, labels),
        Clips((other - mean) / spread, other_bounds, other_labels),
    )


def batches(order: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Indices of clips in this order, `size` at a time; the last batch may be smaller."""
    for start in range(0, len(order), size):
        yield order[start : start + size]


def augment(batch: Batch, generator: torch.Generator) -> Batch:
    """Augmented features; padding stays zero.

    A random level per clip and noise, in standard deviations of a band, and two masks as in SpecAugment
    (arXiv:1904.08779): up to a tenth of the clip's time, and up to a fifth of the bands.
    """
    size, time, mels = batch.mel.shape

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    level = 0.4 * (uniform(size, 1, 1) - 0.5)
    noise = 0.1 * torch.randn(batch.mel.shape, generator=generator)
    ticks, bands = torch.arange(time), torch.arange(mels)
    width = uniform(size, 1) * 0.1 * batch.lengths[:, None]
    start = uniform(size, 1) * (batch.lengths[:, None] - width)
    masked_time = (ticks >= start) & (ticks < start + width)
    height = uniform(size, 1) * 0.2 * mels
    bottom = uniform(size, 1) * (mels - height)
    masked_bands = (bands >= bottom) & (bands < bottom + height)
    hidden = masked_time[..., None] | masked_bands[:, None] | (ticks >= batch.lengths[:, None])[..., None]
    return Batch((batch.mel + level + noise).masked_fill(hidden, 0.0), batch.lengths, batch.labels)
