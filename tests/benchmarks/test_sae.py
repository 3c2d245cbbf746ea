"""The SAE benchmark at tiny size, with a stand-in for the reference's environment."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import sae
from benchmarks.environment import run_in
from phonoscope.config.sae import SaeConfig
from phonoscope.data import Features
from phonoscope.errors import DataError, EnvironmentFault, ParamsError

STAND_IN = '''
"""A trainer of the reference's shape that learns nothing: it keeps a random dictionary."""
import torch


class BatchTopKTrainer:
    def __init__(self, steps, activation_dim, dict_size, warmup_steps, decay_start, seed, **settings):
        assert set(settings) == {"k", "layer", "lm_name", "lr", "device"}
        assert 0 <= warmup_steps < decay_start < steps
        torch.manual_seed(seed)
        self.ae = torch.nn.Module()
        self.ae.decoder = torch.nn.Linear(dict_size, activation_dim, bias=False)
        self.ae.encoder = torch.nn.Linear(activation_dim, dict_size)
        self.ae.b_dec = torch.nn.Parameter(torch.zeros(activation_dim))

    def update(self, step, x):
        assert x.shape == (64, 8)
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    values = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float16)
    np.save(tmp_path / "features.npy", values)
    split = np.where(np.arange(500) < 400, "train", "eval")
    pd.DataFrame({"split": split}).to_parquet(tmp_path / "index.parquet")
    return tmp_path


def test_both_sides_are_scored_alike(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = folder / "dictionary_learning" / "trainers"
    package.mkdir(parents=True)
    (package / "batch_top_k.py").write_text(STAND_IN)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(sae, "environment_with", lambda requirement, environment: Path(sys.executable))
    features = Features(np.load(folder / "features.npy"), pd.read_parquet(folder / "index.parquet"))
    config = SaeConfig(kind="batchtopk", k=4, expansion=2, batch_size=64)
    found = sae.bench_sae(features, config, steps=20, device="cpu", threads=1, environment=folder)
    assert set(found) == {"ours", "reference", "ratio"}
    assert set(found["ours"]) == set(found["reference"]) == {"tokens_per_s", "tokens_per_cpu_s", "fvu", "l0"}
    assert found["ours"]["fvu"] < found["reference"]["fvu"]
    assert found["ours"]["l0"] == pytest.approx(found["reference"]["l0"], rel=0.2)
    assert found["ratio"] == found["ours"]["tokens_per_s"] / found["reference"]["tokens_per_s"]
    json.dumps(found, allow_nan=False)


def test_bad_input_is_refused(folder: Path) -> None:
    with pytest.raises(ParamsError, match="device 'tpu'"):
        sae.bench_folder(folder, steps=1, device="tpu", threads=1, environment=folder)
    (folder / "features.npy").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"features\.npy: not readable"):
        sae.bench_folder(folder, steps=1, device="cpu", threads=1, environment=folder)


def test_a_failing_script_is_named_with_its_error(tmp_path: Path) -> None:
    script = tmp_path / "reference.py"
    script.write_text("raise ValueError('no such trainer')")
    with pytest.raises(EnvironmentFault, match=r"reference\.py failed .*no such trainer"):
        run_in(Path(sys.executable), script)
