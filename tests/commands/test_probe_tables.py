from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from phonoscope.cli import app
from phonoscope.commands.probe_tables import describe, probe_tables
from phonoscope.config.params import Params, load_params
from phonoscope.errors import DataError
from phonoscope.files import read_safetensors
from phonoscope.probes.schema import COLUMNS
from phonoscope.probes.store import TaskResult
from tests.config.test_params import FILE
from tests.probes.planted import Corpus, make_corpus


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus(np.random.default_rng(0).normal(size=(64, 12)).astype(np.float32), utterances=24, frames=80)


@pytest.fixture(scope="module")
def params() -> Params:
    everything = load_params(FILE)
    probe = everything.probe
    mlp = everything.depth.mlp.model_copy(update={"steps": 5})
    classifier = everything.depth.classifier.model_copy(update={"max_iter": 50})
    small = {"layers": (1,), "inputs": ("layer",), "label_permutations": 2}
    depth = everything.depth.model_copy(update={**small, "mlp": mlp, "classifier": classifier})
    one = everything.compute.model_copy(update={"workers": 1})
    return everything.model_copy(update={"probe": probe, "depth": depth, "compute": one})


def save(corpus: Corpus, folder: Path, *left_out: str) -> tuple[Path, Path]:
    names = np.array(corpus.utterances)[corpus.utterance]
    sides = dict.fromkeys(corpus.train, "train") | dict.fromkeys(corpus.evaluation, "eval")
    columns = {
        "utterance": names,
        "speaker": [corpus.speakers[name] for name in names],
        "phone": corpus.phone,
        "f0_hz": corpus.f0_hz,
        "split": [sides[name] for name in names],
        "sex": [corpus.speakers[name] in ("s0", "s1") for name in names],
    }
    columns |= {f"code_{layer}": codes for layer, codes in enumerate(corpus.codes.T, start=1)}
    table = pd.DataFrame(columns).replace({"sex": {True: "F", False: "M"}}).drop(columns=list(left_out))
    table.to_parquet(folder / "mine.parquet")
    books = {f"layer_{layer}": torch.tensor(book) for layer, book in enumerate(corpus.codebooks, start=1)}
    save_file(books, folder / "books.safetensors")
    return folder / "mine.parquet", folder / "books.safetensors"


@pytest.fixture(scope="module")
def probed(corpus: Corpus, params: Params, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    """The report on a table with all labels, and the folder of its files."""
    folder = tmp_path_factory.mktemp("probed")
    return probe_tables(params, *save(corpus, folder), output=folder / "out"), folder / "out"


def test_foreign_tokens_score_as_our_own_do(
    corpus: Corpus, params: Params, probed: tuple[dict[str, Any], Path]
) -> None:
    report, out = probed
    own = corpus.probe(params.probe, "mine")
    rows = pd.DataFrame(report["probes"]).astype(own.table.dtypes)
    pd.testing.assert_frame_equal(rows, own.table)
    written = pd.read_csv(out / "probes.csv")
    assert tuple(written.columns) == COLUMNS
    assert written["value"].tolist() == pytest.approx(own.table["value"].tolist(), rel=1e-8)
    kept = TaskResult.from_tensors(*read_safetensors(out / "probes" / "pitch.safetensors"))
    np.testing.assert_allclose(kept.probes[0].weight, own.tasks["pitch"].probes[0].weight)
    assert json.loads((out / "split.json").read_text())["eval"] == sorted(corpus.evaluation)
    assert (report["layers"], report["codes"]) == (2, 64)
    assert (report["train_utterances"], report["eval_utterances"]) == (18, 6)


def test_in_depth_every_task_is_posed_that_has_labels(probed: tuple[dict[str, Any], Path]) -> None:
    report, out = probed
    depth = pd.DataFrame(report["depth"])
    posed = {"phone", "phone_silence", "phone_group", "voicing", "pitch", "pitch_band", "speaker", "sex"}
    assert set(depth["task"]) == posed
    assert {"linear", "mlp", "rank_8"} <= set(depth["probe"])
    told = depth[(depth["measure"] == "mi_held_out_bits") & (depth["task"] == "phone")].set_index("layer")["value"]
    assert told[1] > told[2] + 0.2  # the layer that was planted with phones
    for name in ("depth", "classes", "confusion"):
        assert len(pd.read_csv(out / f"{name}.csv")) > 0
    text = describe(report)
    assert text.startswith("mine: 2 layers of 64 codes; 18 utterances to train on, 6 to score")
    assert all(f"\n{task}, " in text for task in ("phone", "speaker", "pitch"))


def test_labels_that_are_not_given_are_not_probed(corpus: Corpus, params: Params, tmp_path: Path) -> None:
    files = save(corpus, tmp_path, "phone", "speaker", "split", "sex")
    report = probe_tables(params, *files, name="voiced")
    assert report["codec"] == "voiced"
    assert {row["task"] for row in report["probes"]} == {"pitch"}
    assert {row["task"] for row in report["depth"]} == {"pitch", "pitch_band"}
    assert report["train_utterances"] + report["eval_utterances"] == 24


def test_a_table_without_labels_is_refused(corpus: Corpus, params: Params, tmp_path: Path) -> None:
    files = save(corpus, tmp_path, "phone", "speaker", "f0_hz")
    with pytest.raises(DataError, match=r"mine\.parquet: has labels for none of the tasks phone, speaker, pitch"):
        probe_tables(params, *files, output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_one_json_object(
    corpus: Corpus, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens, books = save(corpus, tmp_path, "phone", "sex", "speaker")
    monkeypatch.setattr("phonoscope.commands.app.load_params", lambda path: params)
    done = CliRunner().invoke(app, ["probe-tables", str(tokens), str(books), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["codec"] == "mine"
