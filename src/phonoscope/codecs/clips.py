"""Clips for codec training, drawn from utterances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from phonoscope.compute import derive_seed
from phonoscope.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.codecs.base import Codec
    from phonoscope.config.codecs import TrainingConfig

GAIN_DB = 12.0  # largest attenuation of a clip


@dataclass
class Clips:
    """Clips of utterances. The clips of a step depend on seed and step only, so training resumes exactly.

    waveforms: [T] each, at the codec's sample rate. teacher: [F, D'] each, at the codec's frame rate.
    """

    waveforms: Sequence[NDArray[np.float32]]
    hop_length: int
    clip_frames: int
    batch_size: int
    seed: int
    teacher: Sequence[Tensor] | None = None

    def __post_init__(self) -> None:
        if not self.waveforms:
            raise DataError("no utterance to train the codec on; is the train split empty?")

    @classmethod
    def of(
        cls,
        codec: Codec,
        waveforms: Sequence[NDArray[np.float32]],
        config: TrainingConfig,
        teacher: Sequence[Tensor] | None = None,
    ) -> Clips:
        """Clips for a codec, of the length and batch size that the training parameters ask for."""
        frames = round(config.clip_s * codec.sample_rate / codec.hop_length)
        return cls(waveforms, codec.hop_length, frames, config.batch_size, config.seed, teacher)

    def draw(self, step: int) -> tuple[Tensor, Tensor | None]:
        """Audio [B, T] and, with a teacher, its features [B, F, D'] for one step. Short utterances are zero-padded."""
        rng = np.random.default_rng(derive_seed(self.seed, "clip", step))
        # by length, so that every second of speech is equally likely
        lengths = np.array([len(waveform) for waveform in self.waveforms], dtype=np.float64)
        chosen = rng.choice(len(lengths), size=self.batch_size, p=lengths / lengths.sum())
        audio = torch.zeros(self.batch_size, self.clip_frames * self.hop_length)
        teacher, features = self.teacher, None
        if teacher is not None:
            features = torch.zeros(self.batch_size, self.clip_frames, teacher[0].shape[1])
        for row, index in enumerate(chosen):
            waveform = self.waveforms[index]
            # clips start at a frame, where the teacher's features start too
            start = int(rng.integers(max(len(waveform) // self.hop_length - self.clip_frames, 0) + 1))
            clip = waveform[start * self.hop_length :][: audio.shape[1]]
            gain = 10 ** (-rng.uniform(0, GAIN_DB) / 20)
            audio[row, : len(clip)] = torch.from_numpy(clip) * gain
            if teacher is not None and features is not None:
                frames = teacher[index][start : start + self.clip_frames]
                features[row, : len(frames)] = frames
        return audio, features
