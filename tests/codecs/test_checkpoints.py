from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from phonoscope.codecs import checkpoints
from phonoscope.codecs.base import bitrate_bps, frame_rate_hz
from phonoscope.codecs.checkpoints import load_codec, load_official, load_packaged, open_codec, save_codec
from phonoscope.codecs.kinds import dac, encodec, speechtokenizer
from phonoscope.config.codecs import CodecConfig
from phonoscope.errors import DataError

from .tiny import EVERY, alive, build, codes_of, living, package_model, refused, save_official, voice

# the official settings, only narrower; the file of SpeechTokenizer has settings of its training, too
BASE = speechtokenizer.OFFICIAL | {"n_filters": 4, "dimension": 64, "batch_size": 6, "fmax_for_loss": None}
SETTINGS: dict[str, dict[str, Any]] = {
    "encodec": {},
    "dac": dac.OFFICIAL | {"encoder_dim": 4, "latent_dim": None, "decoder_dim": 48},
    "speechtokenizer": BASE,
}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each package in its own file format, with random weights."""
    torch.manual_seed(0)
    checkpoints = {}
    for kind, settings in SETTINGS.items():
        model = package_model(kind, settings)
        for name, tensor in model.state_dict().items():
            if name.endswith("_codebook.embed"):
                tensor.normal_()
        checkpoints[kind] = save_official(kind, model, tmp_path_factory.mktemp(kind), settings)
    return checkpoints


@pytest.mark.parametrize(
    ("kind", "layers", "rate_hz", "bitrate"),
    [("encodec", 8, 75, 6000), ("dac", 12, 50, 6000), ("speechtokenizer", 8, 50, 4000)],
)
def test_weights_and_codes_of_an_official_checkpoint_are_those_of_the_package(
    kind: str, layers: int, rate_hz: int, bitrate: int, official: dict[str, Path]
) -> None:
    path = official[kind]
    codec = load_official(kind, path, layers)
    assert (frame_rate_hz(codec), bitrate_bps(codec)) == (rate_hz, bitrate)
    stored = torch.load(path, weights_only=True)
    stored = stored.get("state_dict", stored)
    assert all(torch.equal(stored[name], tensor) for name, tensor in codec.model.state_dict().items())
    samples = voice(0.4, codec.sample_rate)
    audio = torch.from_numpy(samples)[None, None]
    model = package_model(kind, SETTINGS[kind]).eval()
    model.load_state_dict(stored)
    with torch.no_grad():
        if kind == "encodec":
            model.set_target_bandwidth(6.0)
            expected = model.encode(audio)[0][0]
        else:
            expected = model.encode(audio)[1] if kind == "dac" else model.encode(audio).transpose(0, 1)
    assert expected.shape == (1, layers, round(0.4 * rate_hz))
    assert len(expected.unique()) > 3
    assert torch.equal(codes_of(codec, samples), expected)
    if kind == "speechtokenizer":  # its folder holds the config too
        assert torch.equal(codes_of(load_official(kind, path.parent), samples), expected)


@pytest.mark.parametrize("kind", ["dac", "speechtokenizer", "encodec"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.99])
def test_truncated_checkpoint_is_named(kind: str, share: float, official: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / official[kind].name
    if kind == "encodec":  # the old format of torch
        torch.save(build(kind).model.state_dict(), path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(official[kind].read_bytes())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    (tmp_path / "config.json").write_text(json.dumps(BASE))
    refused(kind, path, rf"{path.name}: not a")


def test_missing_checkpoints_and_weights_of_another_shape_are_named(official: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(BASE))
    for kind in SETTINGS:
        refused(kind, tmp_path / "absent.th", r"absent\.th: no such checkpoint")
    refused("encodec", Path("facebook/encodec_24khz"), "Hub ids need kind: transformers")
    path = tmp_path / "tiny.th"
    torch.save(build("encodec").model.state_dict(), path)
    refused("encodec", path, r"tiny\.th: the weights do not fit the model \(\S")
    refused("encodec", official["dac"], r"weights\.pth: the weights do not fit")


@pytest.mark.parametrize("content", [{}, {"metadata": {}}, {"metadata": {"kwargs": {"n_codebooks": 2}}}, [1], "x"])
def test_what_is_no_dac_checkpoint_is_refused(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    refused("dac", path, r"weights\.pth: not a DAC checkpoint")


@pytest.mark.parametrize("config", [None, "{", "[]", '{"n_filters": 4}'])
def test_speechtokenizer_without_a_usable_config_is_refused(config: str | None, tmp_path: Path) -> None:
    (tmp_path / "SpeechTokenizer.pt").write_bytes(b"")
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    refused("speechtokenizer", tmp_path, r"config\.json")


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("kind", list(SETTINGS))
def test_nothing_is_unpickled(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"state_dict": Malicious(tmp_path / "owned"), "metadata": {"kwargs": {}}}, path)
    (tmp_path / "config.json").write_text(json.dumps(BASE))
    refused(kind, path, r"evil\.pt: not a torch checkpoint of weights")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("kind", EVERY)
def test_saved_codec_has_the_same_codes_and_bytes(kind: str, tmp_path: Path) -> None:
    codec = living(kind)
    stored = "transformers" if kind.startswith("transformers") else kind
    for folder in ("a", "b"):
        save_codec(codec, stored, tmp_path / folder)
    samples = voice(0.5, codec.sample_rate)
    again, codes = load_codec(tmp_path / "a"), codes_of(codec, samples)
    assert torch.equal(codes_of(again, samples), codes)
    assert torch.equal(codes_of(load_codec(tmp_path / "a", 2), samples), codes[:, :2])
    assert again.architecture() == codec.architecture()
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    with torch.inference_mode():
        torch.testing.assert_close(again.decode(codes), codec.decode(codes))


def test_running_sums_are_made_again_so_that_training_goes_on(tmp_path: Path) -> None:
    codec = alive("encodec")
    book = codec.rvq_layers[0]._codebook
    book.cluster_size.uniform_(0.5, 2.0)
    book.embed_avg.copy_(book.embed * book.cluster_size[:, None])
    save_codec(codec, "encodec", tmp_path)
    again: Any = load_codec(tmp_path)
    torch.testing.assert_close(again.rvq_layers[0]._codebook.embed_avg, book.embed_avg)
    assert torch.equal(again.rvq_layers[0]._codebook.cluster_size, book.cluster_size)


def test_half_precision_halves_the_file_and_hardly_moves_a_code(tmp_path: Path) -> None:
    codec = living("speechtokenizer")
    save_codec(codec, "speechtokenizer", tmp_path / "whole")
    save_codec(codec, "speechtokenizer", tmp_path / "half", half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.65 * sizes[0]
    half = load_codec(tmp_path / "half")
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float32}
    before, after = (codes_of(each, voice(1.0))[:, 0] for each in (codec, half))
    assert float((before == after).float().mean()) > 0.95


@pytest.mark.parametrize(
    "config",
    [
        *("{", "[]", "{}", '{"kind": "encodec"}', '{"kind": "nonsense", "architecture": {}}'),
        *('{"kind": "encodec", "architecture": {"bins": 3}}', '{"kind": "dac", "architecture": {"size": 1}}'),
    ],
)
def test_missing_and_broken_files_of_a_saved_codec_are_named(config: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"config.json: no such file"):
        load_codec(tmp_path)
    save_codec(build("encodec"), "encodec", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors"):
        load_codec(tmp_path)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(DataError, match=r"config\.json: not a codec's config"):
        load_codec(tmp_path)


def test_open_codec_goes_by_the_checkpoint(official: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodec, "KIND", replace(encodec.KIND, small=build("encodec").architecture()))
    assert open_codec("any", CodecConfig(kind="encodec", checkpoint="scratch", layers=2)).n_layers == 2
    config = CodecConfig(kind="dac", checkpoint=str(official["dac"]), layers=12)
    assert open_codec("any", config).n_layers == 12
    with pytest.raises(DataError, match=r"absent\.th: no such checkpoint"):
        open_codec("any", CodecConfig(kind="encodec", checkpoint=f"untrained:{official['dac'].parent}/absent.th"))


def test_unknown_packaged_model_lists_those_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PACKAGED", tmp_path)
    with pytest.raises(DataError, match=r"mine: no such folder or packaged model; packaged are none"):
        load_packaged("mine")
    save_codec(build("encodec"), "encodec", tmp_path / "encodec")
    with pytest.raises(DataError, match=r"packaged are encodec$"):
        load_packaged("mine")
    digest = hashlib.sha256((tmp_path / "encodec" / "model.safetensors").read_bytes()).hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  encodec/model.safetensors\n")
    with pytest.raises(DataError, match=r"encodec: kind is dac, but the packaged encodec is of kind encodec"):
        open_codec("encodec", CodecConfig(kind="dac", layers=3))
