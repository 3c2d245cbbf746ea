"""Planted words: each class has its own bump of the mel bands, of its own place in time."""

import numpy as np
import torch

from phonoscope.config.vq import VqConfig
from phonoscope.studies.collapse.classifier import DigitClassifier
from phonoscope.studies.collapse.features import Clips, Material
from phonoscope.studies.collapse.variants import main_variants

MELS = 12
BRIEF = VqConfig(seeds=1, arms=(), steps=6, codes=8, channels=8, dim=8, mels=MELS, batch_size=8, warmup_epochs=1)


def planted_clips(clips: int, classes: int, seed: int) -> Clips:
    rng = np.random.default_rng(seed)
    labels = np.arange(clips) % classes
    lengths = rng.integers(6, 12, clips)
    parts = []
    for label, length in zip(labels, lengths, strict=True):
        part = 0.1 * rng.normal(size=(length, MELS))
        part[length // 4 : 3 * length // 4, 3 * label : 3 * label + 3] += 3.0
        parts.append(part)
    bounds = np.concatenate([[0], np.cumsum(lengths)])
    return Clips(np.concatenate(parts).astype(np.float32), bounds.astype(np.int64), labels.astype(np.int64))


def planted_words(train: int = 30, held_out: int = 12, classes: int = 3) -> Material:
    return Material(planted_clips(train, classes, seed=0), planted_clips(held_out, classes, seed=1), classes)


def classifier(name: str = "vq", config: VqConfig = BRIEF) -> DigitClassifier:
    """A fresh model of the variant of this name."""
    torch.manual_seed(0)
    variant = next(variant for variant in main_variants() if variant.name == name)
    return DigitClassifier(variant, config, mels=MELS, classes=3, seed=1)
