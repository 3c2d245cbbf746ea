"""A model's folder: what is written comes back, and a broken one is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from phonoscope.errors import DataError
from phonoscope.files import read_safetensors
from phonoscope.sae.models import SparseAutoencoder
from phonoscope.sae.store import CONFIG, WEIGHTS, load_sae, save_sae
from tests.sae.planted import gaussian, random_model

FORMS: dict[str, dict[str, Any]] = {
    "autoencoder": {},
    "transcoder": {"form": "transcoder", "d_out": 3},
    "skip transcoder": {"form": "transcoder", "skip": True, "d_out": 3},
    "crosscoder": {"form": "crosscoder", "layers": 2},
}


def build(form: str = "autoencoder", kind: str = "batchtopk") -> SparseAutoencoder:
    model = random_model(**{"kind": kind, "d_in": 4, "d_out": 4, "d_sae": 7, "k": 2, **FORMS[form]})
    model.threshold.data = torch.linspace(0, 1, 7) * (model.kind.architecture == "jumprelu")
    if model.shape.form == "transcoder":
        model.input_bias.data = torch.linspace(-1, 1, 4)
    return model


@pytest.mark.parametrize("form", FORMS)
def test_a_model_comes_back_as_it_was(form: str, tmp_path: Path) -> None:
    model = build(form)
    save_sae(model, tmp_path, {"hook_name": "encoder_1"})
    other = load_sae(tmp_path)
    x = gaussian(5, 4, seed=1)
    assert other.shape == model.shape
    assert torch.equal(other.encode(x), model.encode(x))
    torch.testing.assert_close(other(x), model(x))
    assert not any(parameter.requires_grad for parameter in other.parameters())
    assert json.loads((tmp_path / CONFIG).read_text())["metadata"]["hook_name"] == "encoder_1"


@pytest.mark.parametrize(
    ("kind", "form", "architecture"),
    [
        ("relu", "autoencoder", "standard"),
        ("topk", "autoencoder", "topk"),
        ("matryoshka", "autoencoder", "jumprelu"),
        ("relu", "transcoder", "transcoder"),
        ("jumprelu", "transcoder", "jumprelu_transcoder"),
        ("batchtopk", "skip transcoder", "jumprelu_skip_transcoder"),
        ("topk", "crosscoder", "topk_crosscoder"),
    ],
)
def test_files_have_the_names_and_shapes_of_saelens(kind: str, form: str, architecture: str, tmp_path: Path) -> None:
    model = build(form, kind)
    save_sae(model, tmp_path, {})
    config = json.loads((tmp_path / CONFIG).read_text())
    assert (config["architecture"], config["d_in"], config["d_sae"], config["k"]) == (architecture, 4, 7, 2)
    weights, _ = read_safetensors(tmp_path / WEIGHTS)
    shapes = {"W_enc": (4, 7), "b_enc": (7,), "W_dec": (7, model.shape.d_out), "b_dec": (model.shape.d_out,)}
    shapes |= {"threshold": (7,)} if "jumprelu" in architecture else {}
    shapes |= {"W_skip": (3, 4)} if "skip" in architecture else {}
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == shapes


def test_weights_of_another_kind_or_not_finite_are_refused(tmp_path: Path) -> None:
    save_sae(build(kind="topk"), tmp_path, {})
    config = json.loads((tmp_path / CONFIG).read_text())
    config["metadata"]["kind"] = "jumprelu"
    (tmp_path / CONFIG).write_text(json.dumps(config))
    with pytest.raises(DataError, match="no sparse autoencoder"):
        load_sae(tmp_path)
    model = build()
    with torch.no_grad():
        model.W_dec[0, 0] = torch.nan
    save_sae(model, tmp_path, {})
    with pytest.raises(DataError, match="not finite"):
        load_sae(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        load_sae(tmp_path / "elsewhere")
