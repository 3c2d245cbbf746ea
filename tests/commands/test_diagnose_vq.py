from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from phonoscope.errors import DataError
from phonoscope.files import write_safetensors
from phonoscope.vq import Diagnosis, diagnose
from phonoscope.vq.quantizers import build_quantizer
from tests.codecs.tiny import alive, save_official, voice
from tests.commandline import phonoscope
from tests.vq.clusters import Clusters

OFFICIAL = ["encodec", "dac", "speechtokenizer"]


def trained(kind: Any, folder: Path, steps: int = 30) -> Path:
    """A small quantizer of ours, trained and saved as the ablation saves its models."""
    data = Clusters(count=40, dim=16)
    quantizer = build_quantizer(kind, 16, 64)
    quantizer.start(data.draw(400))
    for _ in range(steps):
        quantizer.train()(data.draw(300))
    tensors = torch.nn.ModuleDict({"encoder": torch.nn.Linear(4, 16), "quantizer": quantizer}).state_dict()
    write_safetensors(folder / "model.safetensors", tensors, {})
    return folder


def diagnose_checkpoint(checkpoint: Path, data: Path | None = None) -> Diagnosis:
    """The library's call, as the command makes it."""
    return diagnose(checkpoint, **({} if data is None else {"codes" if data.suffix == ".parquet" else "vectors": data}))


def tokens(path: Path, codes: np.ndarray[Any, np.dtype[np.int64]]) -> Path:
    """A token table of codes [n, layers]."""
    columns = {f"code_{layer + 1}": column.astype(np.int16) for layer, column in enumerate(codes.T)}
    pq.write_table(pa.table({"utterance": ["u"] * len(codes), **columns}), path)
    return path


@pytest.mark.parametrize("kind", OFFICIAL)
def test_an_official_checkpoint_with_tokens_and_with_latents(kind: str, tmp_path: Path) -> None:
    codec = alive(kind)
    checkpoint = save_official(kind, codec.model, tmp_path, codec.architecture())
    with torch.inference_mode():
        latent = codec.latent(torch.from_numpy(voice(4.0, codec.sample_rate))[None, None])
        codes = codec.quantize(latent)[0].t().numpy()
    np.save(tmp_path / "latents.npy", latent[0].t().numpy())
    write_safetensors(tmp_path / "latents.safetensors", {"latents": latent.transpose(1, 2)}, {})
    data = [tokens(tmp_path / "tokens.parquet", codes), tmp_path / "latents.npy", tmp_path / "latents.safetensors"]
    for file in data:
        result = diagnose_checkpoint(checkpoint, file)
        assert result.verdict == "healthy", result.faults
        assert result.layout == kind
        for layer, column in zip(result.layers, codes.T, strict=True):
            assert layer["vectors"] == len(codes)
            assert layer["active_dataset"] == pytest.approx(len(np.unique(column)), abs=1)
    bad = codes.copy()
    bad[:, 1] = 7
    result = diagnose_checkpoint(checkpoint, tokens(tmp_path / "collapsed.parquet", bad))
    assert result.verdict == "collapsed"
    assert [str(fault) for fault in result.faults] == [
        "layer 2: perplexity_dataset is 1.00 with 32 codes",
        "layer 2: 31 of 32 codes are dead by their dataset usage",
    ]


@pytest.mark.parametrize("kind", ["encodec", "speechtokenizer"])
def test_an_official_checkpoint_with_a_planted_unscaled_update(kind: str, tmp_path: Path) -> None:
    codec = alive(kind)
    for layer in codec.rvq_layers:
        book = layer._codebook
        book.cluster_size.copy_(torch.linspace(1, 20, 32))
        book.embed_avg.copy_(book.embed * book.cluster_size[:, None])
        book.embed.mul_(book.cluster_size.sum())
    result = diagnose_checkpoint(save_official(kind, codec.model, tmp_path, codec.architecture()))
    assert result.verdict == "unscaled_ema"
    assert result.layers[0]["norm_over_centroid"] == pytest.approx(336, rel=1e-3)


def test_planted_duplicates_in_dac(tmp_path: Path) -> None:
    codec = alive("dac")
    with torch.no_grad():
        codec.rvq_layers[2].codebook.weight[16:] = codec.rvq_layers[2].codebook.weight[:16] * 3
    result = diagnose_checkpoint(save_official("dac", codec.model, tmp_path, codec.architecture()))
    assert result.verdict == "duplicates"  # DAC compares directions, so a longer copy is a copy
    assert [str(fault) for fault in result.faults] == ["layer 3: 16 of 32 codes are copies of earlier ones"]


@pytest.mark.parametrize(
    ("kind", "code", "said"),
    [
        ("ema", 0, ["healthy: no known fault (layout phonoscope)"]),
        ("ema_unscaled", 3, ["unscaled_ema: the EMA update lacks the factor n", "\nlayer 1: code norms are"]),
    ],
)
def test_the_command_reports_and_exits_by_the_verdict(tmp_path: Path, kind: str, code: int, said: list[str]) -> None:
    folder = trained(kind, tmp_path)
    text, report = (phonoscope("diagnose-vq", str(folder), *option) for option in ([], ["--json"]))
    assert (text.code, report.code) == (code, code)
    assert text.out.startswith(said[0])
    assert all(part in text.out for part in said)
    assert json.loads(report.out).keys() == {"verdict", "evidence"}
    assert json.loads(report.out)["verdict"] == said[0].partition(":")[0]


def test_the_encoder_outputs_that_the_ablation_keeps_are_data(tmp_path: Path) -> None:
    folder, data = trained("ema", tmp_path), Clusters(count=40, dim=16)
    write_safetensors(folder / "evidence.safetensors", {"train": data.draw(300), "eval": data.draw(200)}, {})
    result = diagnose_checkpoint(folder / "model.safetensors", folder / "evidence.safetensors")
    assert "perplexity (dataset)" in str(result)
    assert "dataset" not in str(diagnose_checkpoint(folder))
    assert result.verdict == "healthy", result.faults
    assert result.layers[0]["vectors"] == 500


def wrong_data(folder: Path) -> list[tuple[Path, str]]:
    np.save(folder / "wide.npy", np.zeros((5, 17), dtype=np.float32))
    np.save(folder / "whole.npy", np.zeros((5, 16), dtype=np.int64))
    np.save(folder / "nan.npy", np.full((5, 16), np.nan, dtype=np.float32))
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    write_safetensors(folder / "two.safetensors", {"a": torch.zeros(2, 16), "b": torch.zeros(2, 16)}, {})
    write_safetensors(folder / "unlike.safetensors", {"train": torch.zeros(2, 16), "eval": torch.zeros(2, 8)}, {})
    np.save(folder / "narrow.npy", np.zeros((5, 0), dtype=np.float32))
    (folder / "text.parquet").write_text("no parquet")
    pq.write_table(pa.table({"utterance": ["u"]}), folder / "empty.parquet")
    (folder / "codes.csv").write_text("code_1\n3\n")
    return [
        (folder / "gone.npy", "no such file"),
        (folder / "wide.npy", r"takes vectors \[N, 16\], not \[5, 17\]"),
        (folder / "whole.npy", r"floats \[N, D\], not torch.int64"),
        (folder / "nan.npy", "not finite"),
        (folder / "objects.npy", "not an array of numbers"),
        (folder / "two.safetensors", "got 2"),
        (folder / "unlike.safetensors", r"floats \[N, D\], not torch.float32 \[2, 8\]|\[2, 16\]"),
        (folder / "narrow.npy", r"not \[5, 0\]"),
        (folder / "text.parquet", "not a table of tokens"),
        (folder / "empty.parquet", "no codes in columns code_1"),
        (tokens(folder / "far.parquet", np.array([[64]])), "code 64, but its codebook only 64 codes"),
        (tokens(folder / "negative.parquet", np.array([[-1]])), "not a table of tokens"),
        (tokens(folder / "layers.parquet", np.zeros((5, 2), dtype=np.int64)), "2 layers, the checkpoint has 1"),
        (folder / "codes.csv", "data are a token table"),
    ]


def test_data_that_do_not_fit_are_named(tmp_path: Path) -> None:
    folder = trained("ema", tmp_path / "model", steps=1)
    for path, said in wrong_data(tmp_path):
        with pytest.raises(DataError, match=said) as caught:
            diagnose_checkpoint(folder, path)
        assert str(caught.value).startswith(f"{path}: ")
        assert str(caught.value).count(str(path)) == 1
