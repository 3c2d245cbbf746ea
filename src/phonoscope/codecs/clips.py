"""Clips for codec training, drawn from utterances, and the features of a teacher for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from phonoscope.compute import derive_seed
from phonoscope.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.codecs.base import Codec
    from phonoscope.config.codecs import TrainingConfig

Waveforms = Sequence["NDArray[np.float32]"]  # [T] each, at the codec's sample rate
Teacher = Sequence[Tensor]  # [F, D'] each, at the codec's frame rate
WHISPER_HZ = 16_000
GAIN_DB = 12.0  # largest attenuation of a clip


@dataclass
class Clips:
    """Clips of utterances. The clips of a step depend on seed and step only, so training resumes exactly."""

    waveforms: Waveforms
    hop_length: int
    clip_frames: int
    batch_size: int
    seed: int
    teacher: Teacher | None = None

    def __post_init__(self) -> None:
        if not self.waveforms:
            raise DataError("no utterance to train the codec on; is the train split empty?")

    @classmethod
    def of(cls, codec: Codec, waveforms: Waveforms, config: TrainingConfig, teacher: Teacher | None = None) -> Clips:
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
        width = self.teacher[0].shape[1] if self.teacher else 0
        features = torch.zeros(self.batch_size, self.clip_frames, width)
        for row, index in enumerate(chosen):
            waveform = self.waveforms[index]
            # clips start at a frame, where the teacher's features start too
            start = int(rng.integers(max(len(waveform) // self.hop_length - self.clip_frames, 0) + 1))
            clip = waveform[start * self.hop_length :][: audio.shape[1]]
            gain = 10 ** (-rng.uniform(0, GAIN_DB) / 20)
            audio[row, : len(clip)] = torch.from_numpy(clip) * gain
            if self.teacher:
                frames = self.teacher[index][start : start + self.clip_frames]
                features[row, : len(frames)] = frames
        return audio, features if self.teacher else None


def teacher_features(encode: Callable[..., Any], waveforms: Waveforms) -> list[Tensor]:
    """Features of utterances at 16 kHz, standardised over all frames: [F, D'] each.

    `encode([samples], context_s=...)` gives a list of Whisper features, [F, D'] each (`whisper.encoder_features`).
    """
    features = []
    for samples in tqdm(waveforms, desc="teacher", disable=None):
        # the utterance and a second of silence cost a tenth of Whisper's usual window of 30 s
        context_s = min(30.0, math.ceil(len(samples) / WHISPER_HZ) + 1.0)
        frames = encode([samples], context_s=context_s)[0]
        # a Whisper frame is centred on sample 320 i, a codec frame on 320 i + 160: neighbours are averaged
        features.append(((frames + torch.cat([frames[1:], frames[-1:]])) / 2).cpu())
    every = torch.cat(features)
    # a dimension with a large mean has a cosine of one with anything
    mean, scale = every.mean(dim=0), every.std(dim=0).clamp(min=1e-6)
    return [(frames - mean) / scale for frames in features]
