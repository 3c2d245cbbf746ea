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
from phonoscope.codecs.base import bitrate_bps, encode_batch, frame_rate_hz
from phonoscope.codecs.checkpoints import load_codec, load_official, load_packaged, open_codec, save_codec
from phonoscope.codecs.kinds import encodec
from phonoscope.config.codecs import CodecConfig
from phonoscope.errors import DataError

from .tiny import EVERY, alive, build, voice

# the keys and values of the packages' own files; only the widths of DAC and SpeechTokenizer are smaller here
DAC_16KHZ = {"encoder_rates": [2, 4, 5, 8], "decoder_rates": [8, 5, 4, 2], "n_codebooks": 12, "sample_rate": 16_000}
SPEECHTOKENIZER_BASE = {
    "n_filters": 4, "strides": [8, 5, 4, 2], "dimension": 64, "semantic_dimension": 768, "bidirectional": True,
    "dilation_base": 2, "residual_kernel_size": 3, "n_residual_layers": 1, "lstm_layers": 2, "activation": "ELU",
    "codebook_size": 1024, "n_q": 8, "sample_rate": 16_000, "batch_size": 6, "fmax_for_loss": None,
}  # fmt: skip


def write_encodec(folder: Path) -> Path:
    from encodec import EncodecModel

    model = EncodecModel.encodec_model_24khz(pretrained=False)
    for layer in model.quantizer.vq.layers:
        layer._codebook.embed.normal_()
    torch.save(model.state_dict(), folder / "encodec_24khz-test.th")
    return folder / "encodec_24khz-test.th"


def write_dac(folder: Path) -> Path:
    from dac.model.dac import DAC

    DAC(encoder_dim=4, decoder_dim=48, **DAC_16KHZ).save(folder / "weights_16khz.pth", package=False)
    return folder / "weights_16khz.pth"


def write_speechtokenizer(folder: Path) -> Path:
    from speechtokenizer import SpeechTokenizer

    model = SpeechTokenizer(SPEECHTOKENIZER_BASE)
    for layer in model.quantizer.vq.layers:
        layer._codebook.embed.normal_()
    torch.save(model.state_dict(), folder / "SpeechTokenizer.pt")
    (folder / "config.json").write_text(json.dumps(SPEECHTOKENIZER_BASE))
    return folder / "SpeechTokenizer.pt"


WRITERS = {"encodec": write_encodec, "dac": write_dac, "speechtokenizer": write_speechtokenizer}


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each package in its own file format, with random weights."""
    torch.manual_seed(0)
    return {kind: write(tmp_path_factory.mktemp(kind)) for kind, write in WRITERS.items()}


def codes_of(codec: Any, seconds: float = 0.5) -> torch.Tensor:
    with torch.inference_mode():
        return encode_batch(codec, torch.from_numpy(voice(seconds, codec.sample_rate))[None]).codes


@pytest.mark.parametrize(
    ("kind", "layers", "rate_hz", "bitrate", "raw"),
    [("encodec", 8, 75, 6000, 128), ("dac", 12, 50, 6000, 8), ("speechtokenizer", 8, 50, 4000, 64)],
)
def test_official_checkpoints_load_and_encode(
    kind: str, layers: int, rate_hz: int, bitrate: int, raw: int, official: dict[str, Path]
) -> None:
    codec = load_official(kind, official[kind], layers)
    codes = codes_of(codec)
    assert codes.shape == (1, layers, rate_hz // 2)
    assert (frame_rate_hz(codec), bitrate_bps(codec)) == (rate_hz, bitrate)
    assert len(codes.unique()) > 3
    assert {tuple(rows.shape) for rows in codec.codebooks().raw} == {(1024, raw)}
    stored = torch.load(official[kind], weights_only=True)
    stored = stored.get("state_dict", stored)
    assert all(torch.equal(stored[name], tensor) for name, tensor in codec.model.state_dict().items())


def test_encodec_codes_are_those_of_the_package(official: dict[str, Path]) -> None:
    from encodec import EncodecModel

    model = EncodecModel.encodec_model_24khz(pretrained=False)
    model.load_state_dict(torch.load(official["encodec"], weights_only=True))
    model.set_target_bandwidth(6.0)
    with torch.no_grad():
        frames = model.encode(torch.from_numpy(voice(0.4, 24_000))[None, None])
    assert torch.equal(frames[0][0], codes_of(load_official("encodec", official["encodec"], 8), 0.4))


def test_speechtokenizer_codes_are_those_of_the_package_also_by_folder(official: dict[str, Path]) -> None:
    from speechtokenizer import SpeechTokenizer

    path = official["speechtokenizer"]
    model = SpeechTokenizer.load_from_checkpoint(path.with_name("config.json"), path).eval()
    with torch.no_grad():
        expected = model.encode(torch.from_numpy(voice(0.4))[None, None]).transpose(0, 1)
    for given in (path, path.parent):
        assert torch.equal(codes_of(load_official("speechtokenizer", given), 0.4), expected)


def test_dac_codes_are_those_of_the_package(official: dict[str, Path]) -> None:
    from dac.model.dac import DAC

    model = DAC.load(official["dac"]).eval()
    with torch.no_grad():
        expected = model.encode(torch.from_numpy(voice(0.4))[None, None])[1]
    assert torch.equal(codes_of(load_official("dac", official["dac"]), 0.4), expected)


@pytest.mark.parametrize("kind", ["dac", "speechtokenizer"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_checkpoint_is_named(kind: str, share: float, official: dict[str, Path], tmp_path: Path) -> None:
    content = official[kind].read_bytes()
    path = tmp_path / official[kind].name
    path.write_bytes(content[: int(share * len(content))])
    (tmp_path / "config.json").write_text(json.dumps(SPEECHTOKENIZER_BASE))
    with pytest.raises(DataError, match=path.name) as caught:
        load_official(kind, path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_truncated_checkpoint_of_the_old_format_is_named(share: float, tmp_path: Path) -> None:
    path = tmp_path / "old.th"
    torch.save(build("encodec").model.state_dict(), path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=r"old\.th: not a"):
        load_official("encodec", path)


@pytest.mark.parametrize("kind", list(WRITERS))
def test_missing_checkpoint_is_named(kind: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SPEECHTOKENIZER_BASE))
    with pytest.raises(DataError, match=r"absent\.th: no such checkpoint"):
        load_official(kind, tmp_path / "absent.th")
    with pytest.raises(DataError, match="Hub ids need kind: transformers"):
        load_official("encodec", Path("facebook/encodec_24khz"))


def test_weights_of_another_shape_are_named(official: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "tiny.th"
    torch.save(build("encodec").model.state_dict(), path)
    with pytest.raises(DataError, match=r"tiny\.th: the weights do not fit the model \(\S") as caught:
        load_official("encodec", path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"weights_16khz\.pth: the weights do not fit"):
        load_official("encodec", official["dac"])


@pytest.mark.parametrize("content", [{}, {"metadata": {}}, {"metadata": {"kwargs": {"n_codebooks": 2}}}, [1], "x"])
def test_what_is_no_dac_checkpoint_is_refused(content: Any, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(DataError, match=r"weights\.pth: not a DAC checkpoint"):
        load_official("dac", path)


@pytest.mark.parametrize("config", [None, "{", "[]", '{"n_filters": 4}'])
def test_speechtokenizer_without_a_usable_config_is_refused(config: str | None, tmp_path: Path) -> None:
    (tmp_path / "SpeechTokenizer.pt").write_bytes(b"")
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(DataError, match=r"config\.json"):
        load_official("speechtokenizer", tmp_path)


class Malicious:
    """Makes a folder when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = str(target)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.target,)


@pytest.mark.parametrize("kind", list(WRITERS))
def test_nothing_is_unpickled(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "evil.pt"
    torch.save({"state_dict": Malicious(tmp_path / "owned"), "metadata": {"kwargs": {}}}, path)
    (tmp_path / "config.json").write_text(json.dumps(SPEECHTOKENIZER_BASE))
    with pytest.raises(DataError, match=r"evil\.pt: not a torch checkpoint of weights") as caught:
        load_official(kind, path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("kind", EVERY)
def test_saved_codec_has_the_same_codes_and_bytes(kind: str, tmp_path: Path) -> None:
    codec = alive(kind)
    stored = "transformers" if kind.startswith("transformers") else kind
    for folder in ("a", "b"):
        save_codec(codec, stored, tmp_path / folder)
    again = load_codec(tmp_path / "a")
    assert torch.equal(codes_of(again), codes_of(codec))
    assert again.architecture() == codec.architecture()
    assert load_codec(tmp_path / "a", 2).n_layers == 2
    for file in ("model.safetensors", "config.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    with torch.inference_mode():
        torch.testing.assert_close(again.decode(codes_of(codec)), codec.decode(codes_of(codec)))


def test_running_sums_are_made_again_so_that_training_goes_on(tmp_path: Path) -> None:
    codec = alive("encodec")
    book = codec.rvq_layers()[0]._codebook
    book.cluster_size.uniform_(0.5, 2.0)
    book.embed_avg.copy_(book.embed * book.cluster_size[:, None])
    save_codec(codec, "encodec", tmp_path)
    again: Any = load_codec(tmp_path)
    torch.testing.assert_close(again.rvq_layers()[0]._codebook.embed_avg, book.embed_avg)
    assert torch.equal(again.rvq_layers()[0]._codebook.cluster_size, book.cluster_size)


def test_half_precision_halves_the_file_and_hardly_moves_a_code(tmp_path: Path) -> None:
    codec = alive("speechtokenizer")
    save_codec(codec, "speechtokenizer", tmp_path / "whole")
    save_codec(codec, "speechtokenizer", tmp_path / "half", half=True)
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("whole", "half")]
    assert sizes[1] < 0.65 * sizes[0]
    half = load_codec(tmp_path / "half")
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float32}
    assert float((codes_of(half, 1.0)[:, 0] == codes_of(codec, 1.0)[:, 0]).float().mean()) > 0.95


@pytest.mark.parametrize(
    "config",
    [
        *("{", "[]", "{}", '{"kind": "encodec"}', '{"kind": "nonsense", "architecture": {}}'),
        *('{"kind": "encodec", "architecture": {"bins": 3}}', '{"kind": "dac", "architecture": {"size": 1}}'),
    ],
)
def test_broken_config_of_a_saved_codec_is_named(config: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(DataError, match=r"config\.json: not a codec's config"):
        load_codec(tmp_path)


def test_saved_codec_without_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"config.json: no such file"):
        load_codec(tmp_path)
    save_codec(build("encodec"), "encodec", tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model\.safetensors"):
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
    with pytest.raises(DataError, match=r"no packaged model 'mine'; packaged are none"):
        load_packaged("mine")
    save_codec(build("encodec"), "encodec", tmp_path / "encodec")
    with pytest.raises(DataError, match=r"packaged are encodec$"):
        load_packaged("mine")
    digest = hashlib.sha256((tmp_path / "encodec" / "model.safetensors").read_bytes()).hexdigest()
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  encodec/model.safetensors\n")
    with pytest.raises(DataError, match=r"encodec: kind is dac, but the packaged encodec is of kind encodec"):
        open_codec("encodec", CodecConfig(kind="dac", layers=3))
