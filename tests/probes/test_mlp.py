from __future__ import annotations

import numpy as np
import torch

from phonoscope.config.probes import MlpConfig, ProbeConfig
from phonoscope.probes import ClassTable, fit_probe
from phonoscope.probes.mlp import fit_mlp

CORNERS = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
EXCLUSIVE_OR = ClassTable(("no", "yes"), np.array([[50, 0], [0, 50], [0, 50], [50, 0]]))


def test_a_hidden_layer_finds_what_no_linear_map_finds() -> None:
    probe = fit_mlp(EXCLUSIVE_OR, CORNERS, ProbeConfig(mlp=MlpConfig(hidden=16, steps=300)), seed=0)
    assert probe.predict(CORNERS).tolist() == [0, 1, 1, 0]
    assert fit_probe(EXCLUSIVE_OR, CORNERS).predict(CORNERS).tolist() != [0, 1, 1, 0]


def test_the_seed_decides_and_the_state_of_torch_is_left_alone() -> None:
    config = ProbeConfig(mlp=MlpConfig(hidden=4, steps=5))
    before = torch.random.get_rng_state()
    first, again, other = (fit_mlp(EXCLUSIVE_OR, CORNERS, config, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.hidden_weight, again.hidden_weight)
    assert (first.hidden_weight != other.hidden_weight).any()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_class_without_frames_is_left_out() -> None:
    config = ProbeConfig(mlp=MlpConfig(steps=2))
    counts = np.column_stack([EXCLUSIVE_OR.counts, np.zeros(4, dtype=np.int64)])
    probe = fit_mlp(ClassTable(("no", "yes", "none"), counts), CORNERS, config, seed=0)
    assert probe.classes == ("no", "yes")
