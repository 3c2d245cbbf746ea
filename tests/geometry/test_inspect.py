from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
from typer.testing import CliRunner

from phonoscope import cli, paths
from phonoscope.codecs.base import encode_batch
from phonoscope.codecs.checkpoints import load_codec, save_codec
from phonoscope.commands import app as commands_app
from phonoscope.commands.inspect import describe_clips, inspect_clips
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.geometry import GeometryConfig
from phonoscope.config.params import load_params
from tests.codecs.tiny import build, voice

PARAMS: Any = SimpleNamespace(
    codec=lambda name: SimpleNamespace(layers=3),
    compute=ComputeConfig(),
    training=SimpleNamespace(seed=0),
    geometry=GeometryConfig(),
)
SHAPES = {
    "dac": {"codes_mean": 8, "codes_concat": 24, "latent_sum": 16, "projections_concat": 48, "histogram": 96},
    "encodec": {"codes_mean": 16, "codes_concat": 48, "latent_sum": 16, "projections_concat": 48, "histogram": 96},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two codecs of the pipeline, and some sound files."""
    root = tmp_path_factory.mktemp("inspect")
    for kind in SHAPES:
        save_codec(build(kind), kind, root / paths.codec_model(kind))
    samples = voice(0.5, 22_050)
    sf.write(root / "good.wav", np.stack([samples, samples], axis=1), 22_050)
    sf.write(root / "silent.flac", np.zeros(8000), 16_000)
    sf.write(root / "short.wav", voice(0.01), 16_000)
    (root / "text.wav").write_text("no sound")
    return root


@pytest.fixture
def folder(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folders)
    return folders


@pytest.mark.parametrize("codec", SHAPES)
def test_a_clip_is_walked_through(folder: Path, codec: str) -> None:
    report = inspect_clips(PARAMS, codec, [Path("good.wav")])
    assert (report["codec"], report["failed"]) == (codec, [])
    (clip,) = report["clips"]
    assert (clip["sample_rate_hz"], clip["duration_s"]) == (22_050, 0.5)
    assert clip["codes"] == [3, int(0.5 * clip["frame_rate_hz"])]
    frames, book = clip["codes"][1], clip["codebooks"][0]
    assert (book["codes"], book["projections"]) == ([frames], [frames, 16])
    assert book["code_vectors"] == [frames, SHAPES[codec]["codes_mean"]]
    found = clip["representations"]
    layers = dict.fromkeys(("layer_1", "layer_2", "layer_3", "latent"), 16)
    assert {name: each["shape"][0] for name, each in found.items()} == SHAPES[codec] | layers


@pytest.mark.parametrize("codec", SHAPES)
def test_vectors_are_frame_level_means_of_the_codecs_own_codes(folder: Path, codec: str) -> None:
    sf.write("mono.wav", voice(0.5), 16_000 if codec == "dac" else 24_000, subtype="FLOAT")
    (clip,) = inspect_clips(PARAMS, codec, [Path("mono.wav")])["clips"]
    model = load_codec(paths.codec_model(codec))
    with torch.no_grad():
        codes = encode_batch(model, torch.from_numpy(voice(0.5))[None]).codes[0]
        books = model.codebooks()
        projected = torch.cat([rows[own].mean(dim=0) for rows, own in zip(books.vectors, codes, strict=True)])
    assert [book["first"] for book in clip["codebooks"]] == codes[:, :10].tolist()
    assert [book["distinct"] for book in clip["codebooks"]] == [len(row.unique()) for row in codes]
    found = clip["representations"]["projections_concat"]
    assert found["first"] == pytest.approx(projected[:10].tolist(), abs=1e-5)
    for key, value in {"min": projected.min(), "max": projected.max(), "mean": projected.mean()}.items():
        assert found[key] == pytest.approx(float(value), abs=1e-5)
    assert found["std"] == pytest.approx(float(projected.std(correction=0)), abs=1e-5)


def test_files_that_fail_are_listed_and_the_others_shown(folder: Path) -> None:
    names = ["text.wav", "good.wav", "gone.wav", "silent.flac", "short.wav"]
    report = inspect_clips(PARAMS, "dac", [Path(name) for name in names])
    assert [clip["clip"] for clip in report["clips"]] == ["good.wav"]
    reasons = {each["clip"]: each["reason"] for each in report["failed"]}
    assert set(reasons) == {*names} - {"good.wav"}
    assert "not a readable audio file" in reasons["text.wav"]
    assert reasons["gone.wav"] == "no such audio file"
    assert "silent" in reasons["silent.flac"]
    assert "shorter than" in reasons["short.wav"]
    text = describe_clips(report)
    assert all(f"  {name}: {reason}" in text for name, reason in reasons.items())
    assert all(name in text for name in SHAPES["dac"])


@pytest.mark.parametrize(("clips", "code"), [(["good.wav"], 0), (["good.wav", "gone.wav"], 4), (["gone.wav"], 4)])
def test_the_command_tells_by_its_exit_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, clips: list[str], code: int
) -> None:
    params = load_params(Path(__file__).parents[2] / paths.PARAMS)
    codecs = {"dac": params.codecs["dac"].model_copy(update={"layers": 3})}
    monkeypatch.setattr(commands_app, "load_params", lambda path: params.model_copy(update={"codecs": codecs}))
    done = CliRunner().invoke(cli.app, ["inspect", *clips, "--codec", "dac", "--json"])
    assert done.exit_code == code, done.output
    report = json.loads(done.stdout)
    assert len(report["clips"]) + len(report["failed"]) == len(clips)
    assert len(report["clips"]) == ("good.wav" in clips)
    for clip in report["clips"]:
        assert all(clip["representations"][name]["shape"] == [dims] for name, dims in SHAPES["dac"].items())
