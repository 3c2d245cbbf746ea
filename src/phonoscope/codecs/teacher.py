"""The teacher of SpeechTokenizer's distillation: features of speech at the codec's 50 Hz."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from tqdm import tqdm

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

SAMPLE_RATE_HZ = 16_000


def teacher_features(encode: Callable[..., Any], waveforms: Sequence[NDArray[np.float32]]) -> list[Tensor]:
    """Features of utterances at 16 kHz, standardised over all frames: [F, D'] each.

    `encode([samples], context_s=...)` gives a list of Whisper features, [F, D'] each (`whisper.encoder_features`).
    """
    features = []
    for samples in tqdm(waveforms, desc="teacher", disable=None):
        # the utterance and a second of silence cost a tenth of Whisper's usual window of 30 s
        context_s = min(30.0, math.ceil(len(samples) / SAMPLE_RATE_HZ) + 1.0)
        frames = encode([samples], context_s=context_s)[0]
        # a Whisper frame is centred on sample 320 i, a codec frame on 320 i + 160: neighbours are averaged
        features.append(((frames + torch.cat([frames[1:], frames[-1:]])) / 2).cpu())
    every = torch.cat(features)
    # a dimension with a large mean has a cosine of one with anything
    mean, scale = every.mean(dim=0), every.std(dim=0).clamp(min=1e-6)
    return [(frames - mean) / scale for frames in features]
