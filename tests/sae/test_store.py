"""A model's folder: what is written comes back, and a broken one is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from phonoscope.errors import DataError
from phonoscope.sae.models import SaeShape, SparseAutoencoder
from phonoscope.sae.store import load_sae, save_sae

FORMS = {"autoencoder": {}, "transcoder": {"skip": True, "n_outputs": 3}, "crosscoder": {"layers": 2}}


def _model(form: str) -> SparseAutoencoder:
    shape = {"form": form, "kind": "batchtopk", "n_inputs": 4, "n_outputs": 4, "width": 7, "k": 2, **FORMS[form]}
    model = SparseAutoencoder(SaeShape.model_validate(shape))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator))
    return model


@pytest.mark.parametrize("form", FORMS)
def test_a_model_comes_back_as_it_was(form: str, tmp_path: Path) -> None:
    model = _model(form)
    save_sae(model, tmp_path, {"site": "encoder_1"})
    other = load_sae(tmp_path)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    assert other.config == model.config
    assert torch.equal(other(x), model(x))
    assert not any(parameter.requires_grad for parameter in other.parameters())
    assert json.loads((tmp_path / "config.json").read_text())["training"] == {"site": "encoder_1"}


def test_the_same_model_is_written_to_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_sae(_model("autoencoder"), tmp_path / name, {})
    first, second = ((tmp_path / name / "sae.safetensors").read_bytes() for name in ("a", "b"))
    assert first == second


@pytest.mark.parametrize(
    ("file", "content"),
    [("config.json", "{"), ("config.json", '{"form": "autoencoder"}'), ("sae.safetensors", "no tensors")],
)
def test_a_broken_folder_is_refused(file: str, content: str, tmp_path: Path) -> None:
    save_sae(_model("autoencoder"), tmp_path, {})
    (tmp_path / file).write_text(content)
    with pytest.raises(DataError, match="rebuild it"):
        load_sae(tmp_path)


def test_a_weight_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    model = _model("autoencoder")
    with torch.no_grad():
        model.decoder[0, 0] = torch.nan
    save_sae(model, tmp_path, {})
    with pytest.raises(DataError, match="not finite"):
        load_sae(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        load_sae(tmp_path / "elsewhere")
