"""Log-mel features of isolated words: computed once; batched and augmented in every run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from phonoscope.errors import NotApplicable

Spoken = tuple[Sequence[NDArray[np.float32]], Sequence[int]]
"""Clips of audio, and the class index of each."""
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WINDOW_S = 0.032
HOP_S = 0.02
FLOOR = 1e-6  # added to the power before the logarithm


@dataclass(frozen=True)
class Batch:
    """mel [B, T, mels] float32, zero from each clip's length on; lengths [B] and labels [B], int64."""

    mel: Tensor
    lengths: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Clips:
    """Log-mel frames of clips, one clip after another."""

    mel: NDArray[np.float32]  # [frames of all clips, mels]
    bounds: NDArray[np.int64]  # [clips + 1]: clip c has the frames bounds[c] to bounds[c + 1] (exclusive)
    labels: NDArray[np.int64]  # [clips]: class indices

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, clips: NDArray[np.int64]) -> Batch:
        """A batch of clips by index, padded with zeros to the longest."""
        starts, lengths = self.bounds[clips], np.diff(self.bounds)[clips]
        ticks = np.arange(lengths.max())
        # one gather for the whole batch: rows beyond a clip are any that exist, and are blanked afterwards
        rows = np.minimum(starts[:, None] + ticks, len(self.mel) - 1)
        real = ticks < lengths[:, None]
        mel = torch.from_numpy(np.where(real[..., None], self.mel[rows], np.float32(0)))
        return Batch(mel, torch.from_numpy(lengths.astype(np.int64)), torch.from_numpy(self.labels[clips]))


@dataclass(frozen=True)
class Material:
    """The clips of train and eval, and the number of classes."""

    train: Clips
    held_out: Clips
    classes: int


def log_mel_clips(spoken: Spoken, sample_rate_hz: int, mels: int) -> Clips:
    """Log-mel spectrograms of audio, a frame each 20 ms."""
    from torchaudio.transforms import MelSpectrogram

    window = round(WINDOW_S * sample_rate_hz)
    # zero-padded to at least twice the window: the narrow low bands then hold more than one bin of the spectrum
    fft = 2 ** (window - 1).bit_length() * 2
    hop = round(HOP_S * sample_rate_hz)
    spectrogram = MelSpectrogram(sample_rate_hz, n_fft=fft, win_length=window, hop_length=hop, n_mels=mels)
    parts = [(spectrogram(torch.from_numpy(samples)) + FLOOR).log().T.numpy() for samples in spoken[0]]
    bounds = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    return Clips(np.concatenate(parts), bounds, np.asarray(spoken[1], dtype=np.int64))


def digit_clips(train: Spoken, held_out: Spoken, sample_rate_hz: int, mels: int) -> Material:
    """The clips of train and eval, with every mel band standardised by the train clips.

    Raises: `NotApplicable` if train has fewer than two classes, or eval has no clip.
    """
    if len(set(train[1])) < 2:
        raise NotApplicable(
            f"the train split has {len(set(train[1]))} digit classes in {len(train[1])} clips, and a classifier needs "
            "two; use a corpus with isolated digits, such as espeak, fsdd or speech_commands"
        )
    if not held_out[1]:
        raise NotApplicable("the eval split has no isolated digit; hold out more utterances, or use a corpus with more")
    both = [log_mel_clips(spoken, sample_rate_hz, mels) for spoken in (train, held_out)]
    mean, spread = both[0].mel.mean(axis=0), both[0].mel.std(axis=0) + 1e-5
    first, second = (replace(clips, mel=(clips.mel - mean) / spread) for clips in both)
    return Material(first, second, len(DIGITS))


def batches(order: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Indices of clips in this order, `size` at a time; the last batch may be smaller."""
    return [order[start : start + size] for start in range(0, len(order), size)]


def augment(batch: Batch, generator: torch.Generator) -> Batch:
    """A random level per clip, noise, and two masks as in SpecAugment (arXiv:1904.08779); padding stays zero."""
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
    # a band's mean is 0 after standardisation, so that masks of 0 put in the mean
    return Batch((batch.mel + level + noise).masked_fill(hidden, 0.0), batch.lengths, batch.labels)
