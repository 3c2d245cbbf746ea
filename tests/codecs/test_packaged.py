from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from phonoscope.codecs import checkpoints
from phonoscope.codecs.base import bitrate_bps, encode, frame_rate_hz
from phonoscope.codecs.checkpoints import PACKAGED, load_packaged
from phonoscope.corpus.espeak import synthesize
from phonoscope.corpus.items import Loaded
from phonoscope.errors import DataError
from phonoscope.stats import perplexity

# name: (frame rate, layers, dimensions of the stored rows if they are projected, bit rate)
MODELS = {
    "encodec": (75, 8, None, 6000),
    "dac": (50, 12, 8, 6000),
    "speechtokenizer": (50, 8, None, 4000),
    "speechtokenizer_undistilled": (50, 8, None, 4000),
}
TEXT = "The quick brown fox jumps over the lazy dog, while seven young boys watch the ship leave the old harbour."


@pytest.fixture(scope="module")
def speech() -> list[Loaded]:
    """About half a minute of synthetic speech by four voices, none of it in the training texts."""
    return [synthesize(TEXT, name) for name in ("en-us+f2", "en-us+m3", "en-gb-x-rp+f4", "en-gb-scotland+m7")]


def test_weights_with_another_checksum_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(PACKAGED, tmp_path / "packaged")
    monkeypatch.setattr(checkpoints, "PACKAGED", tmp_path / "packaged")
    monkeypatch.setattr(checkpoints, "_load_saved", lambda *_: pytest.fail("they are opened"))
    weights = tmp_path / "packaged" / "dac" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(DataError, match=r"dac/model\.safetensors: SHA-256 is .*SHA256SUMS.*git checkout"):
        load_packaged("dac")


@pytest.mark.parametrize("name", list(MODELS))
def test_packaged_models_are_small_of_the_official_shapes_and_alive_on_speech(name: str, speech: list[Loaded]) -> None:
    rate, layers, raw, bitrate = MODELS[name]
    files = {file.name: file.stat().st_size for file in (PACKAGED / name).iterdir()}
    assert {"model.safetensors", "config.json", "recipe.json", "curve.csv"} <= set(files)
    assert files["model.safetensors"] < 5_000_000
    codec = load_packaged(name)
    assert (frame_rate_hz(codec), codec.n_layers, bitrate_bps(codec)) == (rate, layers, bitrate)
    assert codec.sample_rate == (24_000 if name == "encodec" else 16_000)
    books = codec.codebooks()
    assert {len(rows) for rows in books.vectors} == {1024}
    assert {rows.shape[1] for rows in books.raw} == {raw or books.vectors[0].shape[1]}
    with torch.inference_mode():
        codes = torch.cat([encode(codec, clip.samples, clip.sample_rate).codes for clip in speech], dim=1)
    assert codes.shape[1] > 1000
    used = [perplexity(layer.bincount()) for layer in codes]
    assert used[0] > 100
    assert min(used) > 64


def test_both_speechtokenizers_differ_only_in_the_distillation() -> None:
    distilled, plain = load_packaged("speechtokenizer"), load_packaged("speechtokenizer_undistilled")
    assert distilled.architecture() == plain.architecture()
    assert not torch.equal(distilled.codebooks().vectors[0], plain.codebooks().vectors[0])
    recipes = [(PACKAGED / name / "recipe.json").read_text() for name in list(MODELS)[2:]]
    assert recipes[0] == recipes[1]
