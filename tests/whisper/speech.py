"""Sounds that the tests listen to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SENTENCES = ["The old farmer carried seven baskets of apples to the market.", "Please close the window before you go."]


def noise(samples: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.01 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)
