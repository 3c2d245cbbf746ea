from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from phonoscope.probes.depth import COLUMNS

from phonoscope import paths
from phonoscope.audio import write_flac
from phonoscope.codecs.base import encode_batch
from phonoscope.codecs.checkpoints import save_codec
from phonoscope.config.codecs import CodecConfig, TrainingConfig
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.params import Params, load_params
from phonoscope.errors import DataError
from phonoscope.files import write_safetensors
from phonoscope.pipeline import depth, depth_report

from ..codecs.tiny import alive, voice
from .deep import quick

PARAMS = Path(__file__).parents[2] / "params.yaml"
PHONES = np.array(["AA", "S", "M", "SIL"])
RATE_HZ = 16_000


@pytest.fixture
def params() -> Params:
    section = quick(layers=(1, 2), inputs=("layer", "cumulative", "latent", "untrained"), information=("phone", "sex"))
    changes = {
        "codecs": {"mine": CodecConfig(kind="speechtokenizer", checkpoint="scratch", layers=2)},
        "depth": section,
        "training": TrainingConfig(batch_size=2, clip_s=0.16),
        "compute": ComputeConfig(device="cpu", workers=1),
    }
    return load_params(PARAMS).model_copy(update=changes)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny codec, and twelve utterances of four speakers with its codes."""
    monkeypatch.chdir(tmp_path)
    codec = alive("speechtokenizer", n_q=2)
    folder = paths.codec_model("mine")
    folder.mkdir(parents=True)
    save_codec(codec, "speechtokenizer", folder)
    rows, tables = [], []
    for index in range(12):
        path = f"s{index % 4}/c/u{index:02d}.flac"
        samples = voice(0.8, RATE_HZ, index)
        write_flac(paths.CORPUS / path, samples, RATE_HZ)
        rows.append(
            {"utterance": f"u{index:02d}", "path": path, "speaker": f"s{index % 4}", "sex": "FM"[index % 2]}
            | {"accent": "x", "word": "", "text": f"text {index // 4}", "sample_rate": RATE_HZ}
        )
        codes = encode_batch(codec, torch.from_numpy(samples)[None]).codes[0].numpy().astype(np.int16)
        frames = codes.shape[1]
        columns = {
            "utterance": [f"u{index:02d}"] * frames,
            "frame": np.arange(frames, dtype=np.int32),
            "phone": PHONES[np.arange(frames) // 5 % 4],
            "f0_hz": np.full(frames, 100.0, dtype=np.float32),
        }
        tables.append(pa.table(columns | {f"code_{layer}": code for layer, code in enumerate(codes, start=1)}))
    pd.DataFrame(rows).to_parquet(paths.MANIFEST)
    names = [row["utterance"] for row in rows]
    split = {"train": names[:8], "eval": names[8:], "speaker_folds": [["s0", "s1"], ["s2", "s3"]]}
    paths.SPLIT.write_text(json.dumps(split))
    paths.tokens_dir("mine").mkdir(parents=True)
    pq.write_table(pa.concat_tables(tables), paths.tokens("mine"))
    books = {f"layer_{layer}": book for layer, book in enumerate(codec.codebooks().vectors[:2], start=1)}
    write_safetensors(paths.codebooks("mine"), books, {"codec": "mine"})
    return tmp_path


def outputs() -> dict[str, bytes]:
    files = [paths.depth_metrics("mine"), paths.depth_classes("mine"), paths.confusion("mine")]
    return {file.as_posix(): file.read_bytes() for file in files}


def test_the_stage_probes_every_input_and_leaves_no_temporary_file(checkout: Path, params: Params) -> None:
    report = depth.run(params, "mine")
    rows = pd.read_csv(paths.depth_metrics("mine"))
    assert tuple(rows.columns) == COLUMNS
    assert np.isfinite(rows[["value", "ci_low", "ci_high", "null"]].to_numpy()).all()
    probed = rows[(rows["task"] == "phone") & (rows["probe"] == "linear") & (rows["measure"] == "macro_f1")]
    assert sorted(zip(probed["input"], probed["layer"], strict=True)) == [
        *(("cumulative", 2), ("latent", 0), ("layer", 1), ("layer", 2), ("untrained", 1), ("untrained", 2))
    ]
    assert set(rows.loc[rows["task"] == "sex", "measure"]) == {"mi_bits", "mi_share"}
    assert report.metrics["phone.layer.macro_f1.layer_1"] == pytest.approx(
        probed.loc[(probed["input"] == "layer") & (probed["layer"] == 1), "value"].item()
    )
    assert not list(paths.STATE.iterdir())
    first = outputs()
    depth.run(params.model_copy(update={"compute": ComputeConfig(device="cpu", workers=2)}), "mine")
    assert outputs() == first


def test_the_report_draws_what_there_is(checkout: Path, params: Params) -> None:
    depth.run(params, "mine")
    report = depth_report.run(params)
    assert [figure.stem for figure in report.figures] == [
        *("controls", "groups", "information", "inputs", "phones_latent", "phones_layer")
    ]
    assert all(figure.read_bytes().startswith(b"\x89PNG") for figure in report.figures)
    table = (paths.DEPTH_REPORT / "table.md").read_text()
    assert "## phone, held-out utterances" in table
    assert "| mine | cumulative | 2 | mlp | accuracy |" in table
    assert "| AA | vowel |" in table


def test_audio_that_does_not_fit_the_tokens_is_refused(checkout: Path, params: Params) -> None:
    write_flac(paths.CORPUS / "s1/c/u01.flac", voice(0.5), RATE_HZ)
    with pytest.raises(DataError, match=r"u01\.flac: 25 frames, but 40 in the token table; .*encode@mine"):
        depth.run(params, "mine")
    assert not paths.depth_metrics("mine").exists()
