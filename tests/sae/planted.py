"""Made-up frames whose dictionary is known: sparse combinations of unit vectors."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from phonoscope.config.sae import SaeConfig
from phonoscope.sae.models import SaeShape, SparseAutoencoder

Array = NDArray[Any]
DIMS, FEATURES, ACTIVE, OFFSET = 48, 64, 3, 0.5


class Planted(NamedTuple):
    """Frames and what they are made of."""

    frames: Array  # [n, DIMS]
    dictionary: Array  # [FEATURES, DIMS], unit rows
    coefficients: Array  # [n, FEATURES], ACTIVE of them in each row between 1 and 2, the rest 0


def plant(n: int, seed: int = 0) -> Planted:
    """n frames; the dictionary is the same for every seed."""
    dictionary = np.random.default_rng(99).normal(size=(FEATURES, DIMS))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    coefficients = np.zeros((n, FEATURES))
    chosen = rng.random((n, FEATURES)).argsort(axis=1)[:, :ACTIVE]
    np.put_along_axis(coefficients, chosen, rng.uniform(1, 2, size=(n, ACTIVE)), axis=1)
    frames = (coefficients @ dictionary + OFFSET).astype(np.float32)
    return Planted(frames, dictionary, coefficients)


def config(**changes: Any) -> SaeConfig:
    """Settings for planted frames: quick, and enough to find the dictionary."""
    settings: dict[str, Any] = {"kind": "batchtopk", "expansion": 2, "k": ACTIVE, "epochs": 20.0, "batch_size": 256}
    settings |= {"lr": 8e-3, "aux_k": 16, **changes}
    options: dict[str, Any] = {"relu": {"l1": 0.5}, "matryoshka": {"groups": [0.5, 1.0]}}.get(settings["kind"], {})
    return SaeConfig.model_validate({"options": options, **settings})


def random_model(**shape: Any) -> SparseAutoencoder:
    """A model of the given shape with standard normal parameters."""
    model = SparseAutoencoder(SaeShape.model_validate(shape))
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def gaussian(n: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(seed))


def matches(rows: Array, true: Array) -> tuple[Array, Array]:
    """For each true direction the largest cosine with one of `rows`, and the index of that row."""
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    cosines = true @ unit.T
    return cosines.max(axis=1), cosines.argmax(axis=1)
