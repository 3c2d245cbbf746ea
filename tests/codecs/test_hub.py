from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from phonoscope.codecs.base import bitrate_bps, frame_rate_hz
from phonoscope.codecs.checkpoints import open_codec
from phonoscope.codecs.kinds.transformers import load as load_transformers
from phonoscope.config.codecs import CodecConfig
from phonoscope.errors import DataError, EnvironmentFault

from .tiny import TRANSFORMERS, build, codes_of, living, refused, voice

RATES_HZ = {"transformers-encodec": 75, "transformers-dac": 50, "transformers-mimi": 37.5, "transformers-xcodec": 50}


@pytest.mark.parametrize("kind", list(TRANSFORMERS))
def test_a_local_folder_gives_the_codes_of_the_model_that_was_saved(kind: str, tmp_path: Path) -> None:
    codec = living(kind)
    codec.model.save_pretrained(tmp_path)
    again = open_codec("any", CodecConfig(kind="transformers", checkpoint=str(tmp_path), layers=3))
    samples = voice(0.5, codec.sample_rate)
    assert torch.equal(codes_of(again, samples), codes_of(codec, samples)[:, :3])
    assert frame_rate_hz(again) == RATES_HZ[kind]
    assert bitrate_bps(again) == frame_rate_hz(again) * 3 * 5


@pytest.mark.parametrize("kind", list(TRANSFORMERS))
def test_codes_are_those_of_transformers_own_encode(kind: str) -> None:
    codec = living(kind)
    samples = voice(0.4, codec.sample_rate)
    codes = codes_of(codec, samples).clone()
    with torch.no_grad():
        official = codec.model.encode(torch.from_numpy(samples)[None, None]).audio_codes
        if kind == "transformers-encodec":
            audio = codec.model.decode(official, [None]).audio_values
            official = official[0]
        else:
            audio = codec.model.decode(audio_codes=official).audio_values
        assert torch.equal(codes, official)
        torch.testing.assert_close(codec.decode(codes), audio.reshape(1, 1, -1))


@pytest.mark.parametrize("kind", ["encodec", "mimi"])
def test_stereo_and_chunking_models_are_refused(kind: str) -> None:
    chunking: list[dict[str, Any]] = [{"normalize": True}, {"chunk_length_s": 1.0}] if kind == "encodec" else []
    for changes in [{"audio_channels": 2}, *chunking]:
        with pytest.raises(DataError, match="give a mono one"):
            build(f"transformers-{kind}", **changes)


def test_missing_folders_and_models_of_another_type_are_refused(tmp_path: Path) -> None:
    for given in (tmp_path / "nowhere", "./nowhere", "~/nowhere-at-all"):
        refused("transformers", given, r"nowhere.*: no such folder")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "whisper"}))
    refused("transformers", tmp_path, "model type 'whisper'; only encodec, dac, mimi, xcodec")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no-such-model"}))
    refused("transformers", tmp_path, "not a usable codec checkpoint")


@pytest.mark.parametrize("damage", ["truncated", "lacking", "another shape", "pickled"])
def test_damaged_or_pickled_weights_are_refused(damage: str, tmp_path: Path) -> None:
    living("transformers-dac").model.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    tensors = load_file(weights)
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "pickled":
        weights.unlink()
        torch.save(tensors, tmp_path / "pytorch_model.bin")
    else:
        changed = {} if damage == "lacking" else {"encoder.conv1.weight": torch.zeros(3, 1, 7)}
        tensors.pop("encoder.conv1.weight")
        save_file(tensors | changed, weights, metadata={"format": "pt"})
    refused(
        "transformers", tmp_path, r"it needs config\.json and safetensors" if damage == "pickled" else str(tmp_path)
    )


def test_unreachable_hub_is_a_fault_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoConfig

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't connect to the Hub\nwith a second line")

    monkeypatch.setattr(AutoConfig, "from_pretrained", offline)
    with pytest.raises(EnvironmentFault, match=r"couldn't connect to the Hub\); download it elsewhere"):
        load_transformers("facebook/encodec_24khz")
