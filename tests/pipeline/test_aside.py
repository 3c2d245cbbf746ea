"""A corpus without isolated words, in LibriSpeech's manner: what cannot be fed steps aside, the rest goes on."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML

from phonoscope import paths
from phonoscope.audio import write_flac
from phonoscope.config.params import load_params
from phonoscope.data import Manifest, Tokens
from phonoscope.errors import NotApplicable
from phonoscope.files import write_csv, write_safetensors
from phonoscope.pipeline import align
from phonoscope.pipeline.aside import reason_in, step_aside
from phonoscope.pipeline.integrity.contents import check_content
from phonoscope.pipeline.integrity.inputs import stage_outputs
from phonoscope.pipeline.runner import run_stage
from tests.pipeline.clone import CHECKOUT

CODEC = "dac"
ASIDE = {
    "vq": "digit",
    "vq-report": "digit",
    "encoder@codes": "isolated words",
    "encoder@mel": "isolated words",
    "encoder-report": "isolated words",
    f"geometry@{CODEC}": "isolated words",
    "geometry-report": "isolated words",
}


def outputs(address: str) -> list[Path]:
    return stage_outputs(address, load_params(paths.PARAMS).model_dump(mode="json"))


def run(address: str) -> None:
    name, _, item = address.partition("@")
    run_stage(name, paths.PARAMS, item or None)


def write_params() -> None:
    shutil.copy(CHECKOUT / "dvc.yaml", "dvc.yaml")
    content = YAML().load((CHECKOUT / "params.yaml").read_text(encoding="utf-8"))
    content["codecs"] = {CODEC: content["codecs"][CODEC]}
    content["encoder"]["layers"] = 2
    content["encoder"]["codec"], content["sae"]["sites"] = CODEC, ["encoder_3"]
    content["tracking"]["enabled"], content["compute"]["workers"] = False, 1
    YAML().dump(content, paths.PARAMS)


def write_corpus(words: list[str]) -> None:
    """Two readers, six sentences each, beside isolated words of the first; noise for speech, with tokens at 75 Hz."""
    rng = np.random.default_rng(0)
    said = [*((f"sentence {i}", "") for i in range(12)), *((word, word) for word in words)]
    rows, codes = [], {}
    for i, (text, word) in enumerate(said):
        name = f"u{i:02d}"
        paths.CORPUS.mkdir(parents=True, exist_ok=True)
        samples = rng.normal(0, 0.1, 8000).astype(np.float32)
        write_flac(paths.CORPUS / f"{name}.flac", samples, 16_000)
        row = {"utterance": name, "path": f"{name}.flac", "text": text, "word": word, "speaker": f"s{i % 2}"}
        rows.append(row | {"duration_s": 0.5, "sample_rate": 16_000, "sex": "F", "sha256": name})
        codes[name] = rng.integers(0, 16, (2, 37))
    Manifest.from_arrays(**pd.DataFrame(rows).to_dict("list")).save(paths.MANIFEST)
    Tokens.from_arrays(codes, [16, 16], 75.0).save(paths.tokens(CODEC))
    books = {f"{kind}_{layer}": torch.randn(16, 4) for kind in ("layer", "raw") for layer in (1, 2)}
    write_safetensors(paths.codebooks(CODEC), books, {"codec": CODEC, "frame_rate_hz": 75.0})


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_params()
    return tmp_path


@pytest.fixture
def rest(here: Path) -> None:
    """What the summary reads of stages that are not run here."""
    scores = pd.DataFrame({"layer": [0], "metric": ["bitrate_bps"], "value": [750.0], "n": [1]})
    write_csv(paths.encode_metrics(CODEC), scores)
    for name in ("corpus", "align"):
        write_csv(paths.stage_metrics(name), pd.DataFrame({"metric": ["utterances"], "value": [12.0]}))
    for address in (f"depth@{CODEC}", "compare", "sae@encoder_3", "interpret@encoder_3"):
        step_aside(outputs(address), "not run")


@pytest.mark.usefixtures("rest")
@pytest.mark.parametrize("words", [[], ["yes"]], ids=["none", "one"])
def test_stages_that_need_words_step_aside_and_the_summary_is_written(
    words: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    write_corpus(words)
    run("split")
    for address, reason in ASIDE.items():
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            run(address)
        lines = [message for message in caplog.messages if message.startswith(f"{address}: not applicable: ")]
        assert len(lines) == 1
        assert reason in lines[0]
        written = outputs(address)
        assert all(path.exists() for path in written)
        files = [file for path in written for file in ([path] if path.is_file() else path.iterdir())]
        assert not any(map(check_content, files))
    run("summary")
    summary = json.loads(paths.SUMMARY.read_text())
    assert summary["corpus"] == {"utterances": 12.0}
    assert not {"vq", "encoder", "geometry", "probe"} & summary.keys()
    skipped = pd.read_csv(paths.NOT_APPLICABLE).set_index("stage")["reason"]
    assert {"vq-report", "encoder@codes", "encoder@mel", f"geometry@{CODEC}", "compare"} <= set(skipped.index)
    assert skipped["compare"] == "not run"


def test_without_transcripts_and_textgrids_nothing_is_aligned(here: Path) -> None:
    write_corpus([])
    table = Manifest.load(paths.MANIFEST).table.assign(text="")
    Manifest(table).save(paths.MANIFEST)
    pd.DataFrame(columns=["utterance", "start_s", "end_s", "symbol", "word_index"]).to_parquet(paths.PHONE_EVENTS)
    params = load_params(paths.PARAMS)
    empty = params.alignment.model_copy(update={"root": str(here / "data")})
    with pytest.raises(NotApplicable, match="no utterance has a transcript"):
        align.run(params.model_copy(update={"alignment": empty}))


@pytest.mark.parametrize("name", ["metrics/a.csv", "metrics/a", "data/a"])
def test_the_reason_can_be_read_back(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    assert reason_in(path) is None
    step_aside([path], 'no words, "digits"\nor sexes')
    assert reason_in(path) == 'no words, "digits"\nor sexes'


def test_a_table_of_results_has_no_reason(tmp_path: Path) -> None:
    for file, text in {"empty.csv": "", "stages.csv": "stage,reason\nvq,none\n"}.items():
        (tmp_path / file).write_text(text)
        assert reason_in(tmp_path / file) is None


def test_figures_of_a_stage_that_steps_aside_are_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert step_aside([Path("plots/vq"), Path("metrics/table.md")], "no digits") == [
        Path("plots/vq/not-applicable.png")
    ]
    assert (tmp_path / "plots/vq/not-applicable.png").read_bytes().startswith(b"\x89PNG")
    assert "no digits" in (tmp_path / "metrics/table.md").read_text()
