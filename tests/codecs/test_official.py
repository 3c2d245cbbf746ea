"""Codecs of the official sizes with random weights, in each official file format, from the file to the probes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import torch

from phonoscope import paths
from phonoscope.codecs.checkpoints import load_codec
from phonoscope.codecs.kinds import speechtokenizer
from phonoscope.config.codecs import CodecConfig
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.params import Params, load_params
from phonoscope.files import read_safetensors
from phonoscope.pipeline import codec as codec_stage
from phonoscope.pipeline import encode as encode_stage
from phonoscope.pipeline import probe as probe_stage

from .conftest import DURATIONS_S

PARAMS = Path(__file__).parents[2] / "params.yaml"
LAYERS = 2


def write_encodec(folder: Path) -> Any:
    from encodec import EncodecModel

    model = EncodecModel.encodec_model_24khz(pretrained=False)
    torch.save(fill(model).state_dict(), folder / "encodec_24khz-d7cc33bc.th")
    return folder / "encodec_24khz-d7cc33bc.th"


def write_dac(folder: Path) -> Any:
    from dac.model.dac import DAC

    model = DAC(encoder_rates=[2, 4, 5, 8], decoder_rates=[8, 5, 4, 2], n_codebooks=12, sample_rate=16_000)
    fill(model).save(folder / "weights_16khz.pth", package=False)
    return folder / "weights_16khz.pth"


def write_speechtokenizer(folder: Path) -> Any:
    from speechtokenizer import SpeechTokenizer

    torch.save(fill(SpeechTokenizer(speechtokenizer.OFFICIAL)).state_dict(), folder / "SpeechTokenizer.pt")
    (folder / "config.json").write_text(json.dumps(speechtokenizer.OFFICIAL))
    return folder / "SpeechTokenizer.pt"


def write_transformers(model_type: str, **settings: Any) -> Callable[[Path], Path]:
    """Models of transformers' default configs, which are those of the published checkpoints but for `settings`."""

    def write(folder: Path) -> Path:
        from transformers import AutoConfig, AutoModel

        fill(AutoModel.from_config(AutoConfig.for_model(model_type, **settings))).save_pretrained(folder)
        return folder

    return write


def fill(model: Any) -> Any:
    """Codebooks of random rows where a class leaves them at zero, and no biases: so that codes depend on the audio."""
    for name, tensor in model.state_dict().items():
        if name.endswith((".embed", ".embed_sum")):
            tensor.normal_(std=1e-5)  # of larger rows the smallest would be nearest to everything
        elif name.endswith(".bias"):
            tensor.zero_()
    return model


class Official(NamedTuple):
    """One format: who writes it, and what its codes and code vectors must be."""

    kind: str
    write: Callable[[Path], Path]
    rate_hz: float
    codes: int
    raw: int
    summed: int
    parameters: int


DAC_16KHZ = {"downsampling_ratios": [2, 4, 5, 8], "upsampling_ratios": [8, 5, 4, 2], "n_codebooks": 12}
OFFICIAL = {
    "encodec": Official("encodec", write_encodec, 75, 1024, 128, 128, 14_851_810),
    "dac": Official("dac", write_dac, 50, 1024, 8, 1024, 74_175_906),
    "speechtokenizer": Official("speechtokenizer", write_speechtokenizer, 50, 1024, 1024, 1024, 103_675_586),
    "hub_encodec": Official("transformers", write_transformers("encodec"), 75, 1024, 128, 128, 14_851_810),
    "hub_dac": Official("transformers", write_transformers("dac", **DAC_16KHZ), 50, 1024, 8, 1024, 74_141_697),
    "hub_mimi": Official("transformers", write_transformers("mimi"), 12.5, 2048, 256, 512, 79_308_609),
    "hub_xcodec": Official("transformers", write_transformers("xcodec"), 50, 1024, 1024, 1024, 160_698_625),
}


@pytest.mark.parametrize("name", list(OFFICIAL))
def test_a_codec_of_the_official_size_is_loaded_encodes_and_is_probed(name: str, checkout: Path) -> None:
    official, folder = OFFICIAL[name], checkout / "weights"
    folder.mkdir()
    torch.manual_seed(0)
    settings = CodecConfig(kind=official.kind, checkpoint=str(official.write(folder)), layers=LAYERS)
    there = load_params(PARAMS)
    brief = there.probe.classifier.model_copy(update={"max_iter": 5})
    params = there.model_copy(
        update={
            "codecs": {name: settings},
            "compute": ComputeConfig(device="cpu", workers=1),
            "encode": there.encode.model_copy(update={"reconstructions": 1}),
            "probe": there.probe.model_copy(update={"classifier": brief}),
        }
    )
    assert codec_stage.run(params, name).metrics["parameters"] == official.parameters
    shutil.rmtree(folder)
    encode_stage.run(params, name)
    check_tokens(name, official)
    for vectors, dims in {"sum": official.summed, "raw": official.raw}.items():
        check_probe(params, name, vectors, dims)


def check_tokens(name: str, official: Official) -> None:
    tokens = pd.read_parquet(paths.tokens(name))
    frames = tokens.groupby("utterance", observed=True).size().to_dict()
    assert frames == {key: int(s * official.rate_hz) for key, s in DURATIONS_S.items()}
    assert tokens[["code_1", "code_2"]].to_numpy().max() < official.codes
    assert tokens["code_1"].nunique() > 1
    books, metadata = read_safetensors(paths.codebooks(name))
    assert metadata["frame_rate_hz"] == official.rate_hz
    assert {books[f"raw_{layer}"].shape for layer in (1, 2)} == {(official.codes, official.raw)}
    assert {books[f"layer_{layer}"].shape for layer in (1, 2)} == {(official.codes, official.summed)}
    assert load_codec(paths.codec_model(name), LAYERS).codebook_size == official.codes


def check_probe(params: Params, name: str, vectors: str, dims: int) -> None:
    changed = params.probe.model_copy(update={"vectors": vectors})
    probe_stage.run(params.model_copy(update={"probe": changed}), name)
    tensors, _ = read_safetensors(paths.probes(name) / "phone.safetensors")
    assert tensors["layer_1.mean"].shape == (dims,)
    scores = pd.read_csv(paths.probe_metrics(name))
    assert set(scores["task"]) == {"phone", "speaker", "pitch"}
    assert scores["value"].notna().all()
