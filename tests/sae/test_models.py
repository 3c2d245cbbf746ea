"""What one model is: its forms, its norms, and the two scales it is trained and used in."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from phonoscope.config.sae import SaeConfig
from phonoscope.errors import ParamsError
from phonoscope.sae.models import SparseAutoencoder, build_shape
from tests.sae.planted import gaussian, random_model

SHAPE = {"form": "autoencoder", "kind": "topk", "d_in": 6, "d_out": 6, "d_sae": 10, "k": 3}
FRAMES = gaussian(5, 6, seed=1)


def _model(**changes: Any) -> SparseAutoencoder:
    model = random_model(**{**SHAPE, **changes})
    with torch.no_grad():
        model.normalise()
        model.threshold.abs_()
    return model


def test_forward_is_the_equation_written_out() -> None:
    model, x = _model(), FRAMES
    pre = (x - model.b_dec) @ model.encoder.T + model.b_enc
    best = pre.topk(3, dim=1)
    activations = torch.zeros_like(pre).scatter(1, best.indices, best.values.relu())
    torch.testing.assert_close(model.encode(x), activations)
    torch.testing.assert_close(model(x), activations @ model.W_dec + model.b_dec)


def test_a_skip_transcoder_adds_an_affine_map_of_the_input() -> None:
    model, x = _model(form="transcoder", skip=True, d_out=4), FRAMES
    model.input_bias.fill_(0.5)
    assert model.W_skip is not None
    features = model.encode(x) @ model.W_dec + model.b_dec
    torch.testing.assert_close(model(x), features + (x - 0.5) @ model.W_skip.T)


def test_a_step_removes_the_gradient_along_unit_rows_and_keeps_them_unit() -> None:
    model, x = _model(kind="batchtopk"), FRAMES
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (model(x) - x).pow(2).sum().backward()
        model.remove_parallel_gradient()
        assert model.W_dec.grad is not None
        along = (model.W_dec.grad * model.W_dec).sum(dim=1)
        torch.testing.assert_close(along, torch.zeros(10), atol=1e-5, rtol=0)
        optimizer.step()
        model.normalise()
        torch.testing.assert_close(model.W_dec.norm(dim=1), torch.ones(10))


def test_a_crosscoder_ranks_by_the_sum_of_its_layers_norms_not_by_the_norm_of_all() -> None:
    model, x = _model(form="crosscoder", layers=2), FRAMES
    by_hand = model.W_dec[:, :3].norm(dim=1) + model.W_dec[:, 3:].norm(dim=1)
    torch.testing.assert_close(model.norms(), by_hand)
    active = model.encode(x) > 0
    with torch.no_grad():  # the same function, written with other scales of features
        factor = torch.linspace(0.1, 5.0, 10)
        model.encoder.mul_(factor[:, None])
        model.b_enc.mul_(factor)
        model.W_dec.div_(factor[:, None])
    assert torch.equal(model.encode(x) > 0, active)


@pytest.mark.parametrize("form", ["autoencoder", "transcoder", "crosscoder"])
def test_rescaling_gives_the_same_model_in_other_units(form: str) -> None:
    outputs = 4 if form == "transcoder" else 6
    changes = {"form": form, "d_out": outputs, "kind": "jumprelu", "skip": form == "transcoder"}
    model, x = _model(**changes, layers=2 if form == "crosscoder" else 1), FRAMES
    scale = (3.0, 7.0) if form == "transcoder" else (3.0, 3.0)
    before = model(x / scale[0]) * scale[1]
    norms = model.norms().clone()
    model.rescale(*scale)
    torch.testing.assert_close(model(x), before)
    torch.testing.assert_close(model.norms(), norms)


def test_width_counts_features_per_dimension_of_one_layer_and_k_is_no_more() -> None:
    with pytest.raises(ParamsError, match="k is 33, but there are 32 features"):
        build_shape("autoencoder", SaeConfig(k=33), d_in=4, d_out=4)
    shape = build_shape("crosscoder", SaeConfig(kind="matryoshka"), d_in=40, d_out=40, layers=4)
    assert shape.d_sae == 80
    assert SparseAutoencoder(shape).kind.prefixes(80) == (5, 10, 20, 40, 80)
    assert not build_shape("autoencoder", SaeConfig(skip=True), d_in=8, d_out=8).skip
