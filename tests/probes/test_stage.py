from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from phonoscope import paths
from phonoscope.config.params import Params, load_params
from phonoscope.errors import DataError
from phonoscope.files import read_safetensors, write_safetensors
from phonoscope.pipeline.probe import run
from phonoscope.probes import BootstrapConfig, ProbeConfig, TaskResult
from phonoscope.probes.run import COLUMNS

from .planted import make_corpus

PARAMS = Path(__file__).parents[2] / "params.yaml"


@pytest.fixture
def params() -> Params:
    config = ProbeConfig(bootstrap=BootstrapConfig(samples=50))
    return load_params(PARAMS).model_copy(update={"probe": config})


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    corpus = make_corpus(np.random.default_rng(0).normal(size=(64, 12)).astype(np.float32))
    paths.MANIFEST.parent.mkdir(parents=True)
    manifest = {"utterance": corpus.utterances, "speaker": [corpus.speakers[name] for name in corpus.utterances]}
    pd.DataFrame(manifest).to_parquet(paths.MANIFEST)
    paths.SPLIT.write_text(json.dumps({"train": corpus.train, "eval": corpus.evaluation, "speaker_folds": []}))
    paths.tokens_dir("dac").mkdir(parents=True)
    corpus.write(paths.tokens("dac"))
    tensors = {f"layer_{layer}": torch.tensor(book) for layer, book in enumerate(corpus.codebooks, start=1)}
    raw = {f"raw_{layer}": torch.zeros(64, 3) for layer in (1, 2)}
    write_safetensors(paths.codebooks("dac"), tensors | raw, {"codec": "dac"})
    return tmp_path


def test_stage_writes_the_contract_and_reports_by_layer(checkout: Path, params: Params) -> None:
    report = run(params, "dac")
    rows = pd.read_csv(paths.probe_metrics("dac"))
    assert tuple(rows.columns) == COLUMNS
    assert rows["codec"].unique().tolist() == ["dac"]
    phones = rows[(rows["task"] == "phone") & (rows["metric"] == "macro_f1")]
    assert report.by_layer["phone.macro_f1"] == pytest.approx(phones["value"].tolist(), rel=1e-8)
    assert set(report.by_layer) >= {"speaker.accuracy", "pitch.r2", "pitch.mae_hz"}
    unseen = {f"{task}.unseen_frames": 0 for task in ("phone", "speaker", "pitch")}
    assert report.metrics == {"unconverged_fits": 0, **unseen}
    files = sorted(file.name for file in paths.probes("dac").iterdir())
    assert files == ["phone.safetensors", "pitch.safetensors", "speaker.safetensors"]
    saved = TaskResult.from_tensors(*read_safetensors(paths.probes("dac") / "phone.safetensors"))
    assert saved.statistics[0].scores()["macro_f1"][0] == pytest.approx(phones["value"].iloc[0], rel=1e-8)


def test_stage_writes_the_same_bytes_again(checkout: Path, params: Params) -> None:
    def outputs() -> dict[str, bytes]:
        files = [paths.probe_metrics("dac"), *sorted(paths.probes("dac").iterdir())]
        return {file.name: file.read_bytes() for file in files}

    run(params, "dac")
    first = outputs()
    run(params.model_copy(update={"compute": params.compute.model_copy(update={"workers": 1})}), "dac")
    assert outputs() == first


@pytest.mark.parametrize(
    ("missing", "stage"),
    [(paths.MANIFEST, "corpus"), (paths.SPLIT, "split"), (paths.tokens("dac"), "encode"), (paths.codebooks("dac"), "")],
)
def test_a_missing_input_names_the_stage_to_run(checkout: Path, params: Params, missing: Path, stage: str) -> None:
    missing.unlink()
    with pytest.raises(DataError, match=rf"{missing.name}: no such .*`dvc repro.*{stage}"):
        run(params, "dac")
    assert not paths.probes("dac").exists()
    assert not paths.probe_metrics("dac").exists()
