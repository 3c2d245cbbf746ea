"""Dead features come back."""

from __future__ import annotations

import torch

from phonoscope.sae.dead import auxk_loss, resample
from phonoscope.sae.models import SparseAutoencoder
from tests.sae.planted import gaussian, random_model

D, WIDTH = 4, 6


def _model() -> SparseAutoencoder:
    model = random_model(kind="topk", d_in=D, d_out=D, d_sae=WIDTH, k=2)
    with torch.no_grad():
        model.normalise()
        model.encoder.copy_(model.W_dec)
        model.b_enc.zero_()
        model.b_dec.zero_()
    return model


def test_auxk_teaches_dead_features_alone_and_explains_the_error() -> None:
    model, x = _model(), gaussian(50, D, seed=4)
    dead = torch.tensor([False, False, False, False, True, True])
    with torch.no_grad():
        pre = model.pre(x)
    error = (x - model(x)).detach()
    loss = auxk_loss(model, x, error, pre, dead, k=2)
    by_hand = pre[:, 4:].relu() @ model.W_dec[4:]
    expected = (error - by_hand).pow(2).sum() / (error - error.mean(dim=0)).pow(2).sum()
    torch.testing.assert_close(loss, expected)
    loss.backward()
    for parameter in (model.encoder, model.b_enc, model.W_dec):
        assert parameter.grad is not None
        assert not parameter.grad[:4].any()
        assert parameter.grad[4:].any()
    assert float(auxk_loss(model, x, error, pre, torch.zeros_like(dead), k=2)) == 0.0


def test_resampling_points_dead_features_at_errors_and_forgets_their_moments() -> None:
    model, x = _model(), gaussian(50, D, seed=4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    (model(x) - x).pow(2).sum().backward()
    optimizer.step()
    model.normalise()
    dead = torch.tensor([True, False, False, True, False, False])
    error = x - model(x).detach()
    living = model.W_dec.detach()[~dead].clone()
    assert resample(model, optimizer, x, x, dead, torch.Generator().manual_seed(0)) == 2
    directions = error / error.norm(dim=1, keepdim=True)
    best = (model.W_dec[dead] @ directions.T).max(dim=1).values
    torch.testing.assert_close(best.detach(), torch.ones(2))
    torch.testing.assert_close(model.W_dec[~dead], living)
    assert not model.b_enc[dead].any()
    moments = optimizer.state[model.W_dec]
    assert not moments["exp_avg"][dead].any()
    assert moments["exp_avg_sq"][~dead].any()
