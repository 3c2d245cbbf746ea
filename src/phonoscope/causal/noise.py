"""Noisy speech at a given signal-to-noise ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from phonoscope.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def white_noise(samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Gaussian noise of unit variance, [samples]."""
    return rng.standard_normal(samples).astype(np.float32)


def babble(voices: Sequence[NDArray[np.float32]], samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Several voices at once, each equally loud, repeated from a random position: [samples].

    Raises: `DataError` without voices.
    """
    if not voices:
        raise DataError("no other utterances to make babble of; use white noise")
    mixed = np.zeros(samples, dtype=np.float64)
    for voice in voices:
        loudness = float(np.sqrt(np.mean(np.square(voice, dtype=np.float64))))
        mixed += np.resize(np.roll(voice, int(rng.integers(len(voice)))), samples) / max(loudness, 1e-9)
    return mixed.astype(np.float32)


def add_noise(speech: NDArray[np.float32], noise: NDArray[np.float32], snr_db: float) -> NDArray[np.float32]:
    """Speech plus noise scaled so that 10 log10 of the ratio of their energies is `snr_db`; both [samples]."""
    power = float(np.mean(np.square(speech, dtype=np.float64)))
    disturbance = float(np.mean(np.square(noise, dtype=np.float64)))
    scale = np.sqrt(power / max(disturbance, 1e-20) / 10 ** (snr_db / 10))
    return (speech + scale * noise).astype(np.float32)
