"""SAELens opens the folder of every kind that it supports, and computes the same activations and output."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.environment import environment_with, run_in
from phonoscope.errors import EnvironmentFault
from phonoscope.sae import Frames, load_sae, save_sae, train_sae
from phonoscope.sae.kinds import kinds
from tests.sae.planted import config, plant

REQUIREMENT = "sae-lens==6.54.12"
INSTALL_S = 180
ENVIRONMENT = Path(__file__).parents[2] / ".phonoscope" / "saelens"
CASES = {kind: (kind, False) for kind in kinds()} | {"transcoder": ("batchtopk", True)}


@pytest.fixture(scope="module")
def python() -> Path:
    """The Python of an environment with SAELens, made on the first run (about a minute) and kept."""
    try:
        return environment_with(REQUIREMENT, ENVIRONMENT, timeout_s=INSTALL_S)
    except subprocess.TimeoutExpired:
        reason = f"its installation takes longer than {INSTALL_S} s"
    except (EnvironmentFault, OSError, subprocess.SubprocessError) as error:
        reason = str(error)
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    pytest.skip(f"no environment with {REQUIREMENT}: {reason}")


def test_saelens_computes_the_same(python: Path, tmp_path: Path) -> None:
    frames, x = plant(600).frames, plant(200, seed=1).frames * 3 + 1
    for name, (kind, transcoder) in CASES.items():
        data = Frames.of(frames, frames[:, ::-1].copy() if transcoder else None)
        save_sae(train_sae(data, config=config(kind=kind, epochs=2)).model, tmp_path / name, {"hook_name": "encoder_2"})
        np.save(tmp_path / name / "x.npy", x)
    run_in(python, Path(__file__).with_name("saelens_reference.py"), *(str(tmp_path / name) for name in CASES))
    for name in CASES:
        model, theirs = load_sae(tmp_path / name), np.load(tmp_path / name / "saelens.npz")
        activations = model.encode(x)
        output = model.decode(activations).numpy()
        assert (activations > 0).any()
        np.testing.assert_allclose(theirs["activations"], activations.numpy(), rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(theirs["output"], output, rtol=1e-5, atol=1e-5)
