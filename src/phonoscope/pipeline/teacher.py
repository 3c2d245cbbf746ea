"""The teacher of SpeechTokenizer's distillation: Whisper features at the codec's 50 Hz."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from phonoscope.config.params import Params
    from phonoscope.whisper.model import Whisper

SAMPLE_RATE_HZ = 16_000


def read_teacher(params: Params, waveforms: Sequence[NDArray[np.float32]]) -> list[Tensor]:
    """The teacher's features of utterances at 16 kHz, from the Whisper that the parameters name."""
    from phonoscope.whisper.model import load_whisper

    return teacher_features(load_whisper(params.whisper.checkpoint), waveforms, params.training.teacher_layer)


def teacher_features(whisper: Whisper, waveforms: Sequence[NDArray[np.float32]], layer: int) -> list[Tensor]:
    """Features after encoder block `layer` of utterances at 16 kHz, standardised over all frames: [F, D'] each.

    A Whisper frame is centred on sample 320 i, a codec frame on 320 i + 160, so neighbours are averaged. The window is
    the utterance and a second of silence, which costs a tenth of the usual 30 s. Standardised, because a dimension with
    a large mean has a cosine near one with anything.
    """
    import torch
    from tqdm import tqdm

    from phonoscope.whisper.model import encoder_features

    features = []
    for samples in tqdm(waveforms, desc="teacher", disable=None):
        context_s = min(30.0, math.ceil(len(samples) / SAMPLE_RATE_HZ) + 1.0)
        output = encoder_features(whisper, [samples], layer, context_s=context_s)[0]
        shifted = torch.cat([output[1:], output[-1:]])
        features.append(((output + shifted) / 2).cpu())
    every = torch.cat(features)
    mean, scale = every.mean(dim=0), every.std(dim=0).clamp(min=1e-6)
    return [(frames - mean) / scale for frames in features]
