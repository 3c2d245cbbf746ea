"""Sequences and groups with known components, states and durations."""

import numpy as np
import pytest
import torch
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from phonoscope.studies.collapse.emissions import Categorical, DiagonalGaussian, Emission

DURATIONS = np.array([[0, 0.1, 0.8, 0.1, 0, 0, 0, 0], [0, 0, 0, 0, 0.2, 0.6, 0.2, 0], [0.7, 0.2, 0.1, 0, 0, 0, 0, 0]])
"""p(d) of three states, d = 1..8."""
shapes = pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 40), (2, 400)])
"""Degenerate batches: one frame, one frame each, one sequence, long ones."""


def everything(x: Tensor) -> Tensor:
    """A mask without padding."""
    return torch.ones(x.shape[:2], dtype=torch.bool)


def emission_of(kind: str, components: int, codes: int = 9, dim: int = 2) -> Emission:
    """An emission over codes or over vectors."""
    return Categorical(components, codes) if kind == "codes" else DiagonalGaussian(components, dim)


def groups_of(kind: str, groups: int, frames: int, components: int, seed: int) -> tuple[Tensor, Emission]:
    """Groups of codes or of vectors, and an emission of as many components over them."""
    make = code_groups if kind == "codes" else vector_groups
    return make(groups, frames, components, seed), emission_of(kind, components, 30, 3)


def vector_groups(groups: int, frames: int, components: int, seed: int) -> Tensor:
    """Groups [J, T, 3] of a Gaussian mixture with far means and own weights in every group."""
    draw = np.random.default_rng(seed)
    means = draw.normal(size=(components, 3)) * 5
    weights = draw.dirichlet(np.ones(components), size=groups)
    z = np.array([draw.choice(components, frames, p=row) for row in weights])
    return torch.tensor(means[z] + draw.normal(size=(groups, frames, 3)))


def code_groups(groups: int, frames: int, components: int, seed: int, codes: int = 30) -> Tensor:
    """Groups [J, T] of codes, each component with a sparse distribution over them."""
    draw = np.random.default_rng(seed)
    emission = draw.dirichlet(np.full(codes, 0.15), size=components)
    weights = draw.dirichlet(np.full(components, 0.4), size=groups)
    z = [draw.choice(components, frames, p=row) for row in weights]
    return torch.tensor([[draw.choice(codes, p=emission[k]) for k in row] for row in z])


def segments(sequences: int, frames: int, seed: int) -> np.ndarray:
    """States [B, T] of three kinds of segments with `DURATIONS`, cut off at the end."""
    draw = np.random.default_rng(seed)
    rows = []
    for _ in range(sequences):
        state, row = int(draw.integers(3)), list[int]()
        while len(row) < frames:
            row += [state] * (int(draw.choice(8, p=DURATIONS[state])) + 1)
            state = (state + int(draw.integers(1, 3))) % 3
        rows.append(row[:frames])
    return np.array(rows)


def codes_of(states: np.ndarray, seed: int) -> Tensor:
    """Three codes a state; one frame in ten has any code."""
    draw = np.random.default_rng(seed)
    own = 3 * states + draw.integers(3, size=states.shape)
    return torch.tensor(np.where(draw.random(states.shape) < 0.9, own, draw.integers(9, size=states.shape)))


def sequences_of(kind: str, states: np.ndarray, seed: int) -> Tensor:
    """Codes of states, or vectors [B, T, 2]: a far mean for every state, and noise."""
    if kind == "codes":
        return codes_of(states, seed)
    noise = np.random.default_rng(seed).normal(size=(*states.shape, 2))
    return torch.tensor(np.array([[0, 0], [4, 0], [0, 4]])[states] + noise * 0.7)


def assert_recovered(path: Tensor, states: np.ndarray, durations: Tensor) -> list[int]:
    """The decoded path has the planted states and durations. Returns the model's number of each planted state."""
    assert adjusted_rand_score(states.ravel(), path.numpy().ravel()) > 0.85
    numbers = [int(np.bincount(path[states == state]).argmax()) for state in range(3)]
    assert len(set(numbers)) == 3
    result = durations.exp().numpy()[numbers]
    assert np.abs(result - DURATIONS).sum(1).max() < 0.35
    assert (result.argmax(1) == DURATIONS.argmax(1)).all()
    return numbers
