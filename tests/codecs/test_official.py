"""Codecs of the official sizes with random weights, in each official file format, from the file to the probes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from phonoscope import paths
from phonoscope.codecs.kinds import dac, speechtokenizer
from phonoscope.config.codecs import CodecConfig
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.params import load_params
from phonoscope.files import read_safetensors
from phonoscope.pipeline import codec as codec_stage
from phonoscope.pipeline import encode as encode_stage
from phonoscope.pipeline import probe as probe_stage

from .conftest import DURATIONS_S
from .tiny import package_model, save_official

PARAMS = Path(__file__).parents[2] / "params.yaml"
LAYERS = 2


def write(name: str, folder: Path) -> Path:
    """A checkpoint; transformers' default configs are those of the published checkpoints but for `SETTINGS`."""
    settings = SETTINGS.get(name, {})
    if not name.startswith("transformers"):
        return save_official(name, fill(package_model(name, settings)), folder, settings)
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(name.removeprefix("transformers_"), **settings)
    return save_official(name, fill(AutoModel.from_config(config)), folder)


def fill(model: Any) -> Any:
    """Codebooks of random rows where a class leaves them at zero, and no biases: so that codes depend on the audio."""
    for name, tensor in model.state_dict().items():
        if name.endswith((".embed", ".embed_sum")):
            tensor.normal_(std=1e-5)  # of larger rows the smallest would be nearest to everything
        elif name.endswith(".bias"):
            tensor.zero_()
    return model


RATES = {"downsampling_ratios": [2, 4, 5, 8], "upsampling_ratios": [8, 5, 4, 2]}
SETTINGS: dict[str, dict[str, Any]] = {
    "dac": dac.OFFICIAL,
    "speechtokenizer": speechtokenizer.OFFICIAL,
    "transformers_dac": {**RATES, "n_codebooks": 12},
}


@pytest.mark.parametrize(
    ("name", "rate_hz", "codes", "raw", "summed", "parameters"),
    [
        ("encodec", 75, 1024, 128, 128, 14_851_810),
        ("dac", 50, 1024, 8, 1024, 74_175_906),
        ("speechtokenizer", 50, 1024, 1024, 1024, 103_675_586),
        ("transformers_encodec", 75, 1024, 128, 128, 14_851_810),
        ("transformers_dac", 50, 1024, 8, 1024, 74_141_697),
        ("transformers_mimi", 12.5, 2048, 256, 512, 79_308_609),
        ("transformers_xcodec", 50, 1024, 1024, 1024, 160_698_625),
    ],
)
def test_a_codec_of_the_official_size_is_loaded_encodes_and_is_probed(
    name: str, rate_hz: float, codes: int, raw: int, summed: int, parameters: int, checkout: Path
) -> None:
    folder = checkout / "weights"
    folder.mkdir()
    torch.manual_seed(0)
    settings = CodecConfig(kind=name.split("_")[0], checkpoint=str(write(name, folder)), layers=LAYERS)
    there = load_params(PARAMS)
    # the narrower vectors are probed: principal components of 1024 dimensions are slow, and the same for any codec
    vectors = "raw" if raw < summed else "sum"
    classifier = there.probe.classifier.model_copy(update={"max_iter": 5})
    changes = {
        "codecs": {name: settings},
        "compute": ComputeConfig(device="cpu", workers=1),
        "encode": there.encode.model_copy(update={"reconstructions": 1}),
        "probe": there.probe.model_copy(update={"classifier": classifier, "vectors": vectors}),
    }
    params = there.model_copy(update=changes)
    assert codec_stage.run(params, name).metrics["parameters"] == parameters
    shutil.rmtree(folder)
    encode_stage.run(params, name)
    tokens = pd.read_parquet(paths.tokens(name))
    frames = tokens.groupby("utterance", observed=True).size().to_dict()
    assert frames == {key: int(s * rate_hz) for key, s in DURATIONS_S.items()}
    assert tokens[["code_1", "code_2"]].to_numpy().max() < codes
    assert tokens["code_1"].nunique() > 1
    books, metadata = read_safetensors(paths.codebooks(name))
    assert metadata["frame_rate_hz"] == rate_hz
    assert {books[f"raw_{layer}"].shape for layer in (1, 2)} == {(codes, raw)}
    assert {books[f"layer_{layer}"].shape for layer in (1, 2)} == {(codes, summed)}

    probe_stage.run(params, name)
    tensors, _ = read_safetensors(paths.probes(name) / "phone.safetensors")
    assert tensors["layer_1.mean"].shape == (raw,)
    scores = pd.read_csv(paths.probe_metrics(name))
    assert set(scores["task"]) == {"phone", "speaker", "pitch"}
    assert scores["value"].notna().all()
