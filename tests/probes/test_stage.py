from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from phonoscope import paths
from phonoscope.config.params import Params, load_params
from phonoscope.config.probes import ProbeConfig
from phonoscope.errors import ParamsError
from phonoscope.files import read_safetensors
from phonoscope.pipeline.probe import run
from phonoscope.probes.schema import COLUMNS
from phonoscope.probes.store import TaskResult

from .planted import Corpus, make_corpus

PARAMS = Path(__file__).parents[2] / "params.yaml"
CONFIG = ProbeConfig()


@pytest.fixture(scope="module")
def params() -> Params:
    return load_params(PARAMS).model_copy(update={"probe": CONFIG})


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    monkeypatch.chdir(tmp_path)
    corpus = make_corpus(np.random.default_rng(0).normal(size=(64, 12)).astype(np.float32))
    corpus.checkout("dac")
    return corpus


def test_stage_writes_the_contract_and_reports_by_layer(corpus: Corpus, params: Params) -> None:
    report = run(params, "dac")
    rows = pd.read_csv(paths.probe_metrics("dac"))
    assert tuple(rows.columns) == COLUMNS
    expected = corpus.probe(CONFIG, "dac").table
    assert rows["value"].tolist() == pytest.approx(expected["value"].tolist(), rel=1e-8)
    linear = rows[(rows["probe"] == "linear") & (rows["task"] == "phone")]
    phones = linear.loc[linear["measure"] == "macro_f1", "value"].tolist()
    assert report.by_layer["phone.macro_f1"] == pytest.approx(phones, rel=1e-8)
    assert set(report.by_layer) >= {"speaker.accuracy", "pitch.r2", "pitch.mae"}
    unseen = {f"{task}.unseen_frames": 0 for task in ("phone", "speaker", "pitch")}
    assert report.metrics == {"unconverged_fits": 0, **unseen}
    files = sorted(file.name for file in paths.probes("dac").iterdir())
    assert files == ["phone.safetensors", "pitch.safetensors", "speaker.safetensors"]
    saved = TaskResult.from_tensors(*read_safetensors(paths.probes("dac") / "phone.safetensors"))
    assert saved.statistics[0].scores()["macro_f1"] == pytest.approx(phones[0], rel=1e-8)


def test_any_number_of_workers_writes_the_same_bytes(corpus: Corpus, params: Params) -> None:
    def outputs(workers: int) -> dict[str, bytes]:
        compute = params.compute.model_copy(update={"workers": workers})
        run(params.model_copy(update={"compute": compute}), "dac")
        files = [paths.probe_metrics("dac"), *sorted(paths.probes("dac").iterdir())]
        return {file.name: file.read_bytes() for file in files}

    assert outputs(1) == outputs(2)


def test_raw_vectors_are_probed_on_request(corpus: Corpus, params: Params) -> None:
    run(params.model_copy(update={"probe": CONFIG.model_copy(update={"vectors": "raw", "tasks": ("phone",)})}), "dac")
    raw = replace(corpus, codebooks=[book[:, :3] for book in corpus.codebooks]).probe(CONFIG).table
    rows = pd.read_csv(paths.probe_metrics("dac"))
    assert rows["value"].tolist() == pytest.approx(raw.loc[raw["task"] == "phone", "value"].tolist(), rel=1e-8)


def test_an_unknown_task_names_its_key_and_the_nearest(corpus: Corpus, params: Params) -> None:
    wrong = CONFIG.model_copy(update={"tasks": ("phone", "speakr")})
    with pytest.raises(ParamsError, match=r"probe\.tasks: no task 'speakr'; did you mean 'speaker'"):
        run(params.model_copy(update={"probe": wrong}), "dac")
    assert not paths.probe_metrics("dac").exists()
