"""Dead features come back."""

from __future__ import annotations

import torch

from phonoscope.sae.data import Frames
from phonoscope.sae.dead import auxk_loss, resample
from phonoscope.sae.models import SparseAutoencoder, build_shape
from phonoscope.sae.train import SaeTrainer
from tests.sae.planted import ACTIVE, DIMS, config, gaussian, plant, random_model

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
    assert resample(model, optimizer, x, error, dead, torch.Generator().manual_seed(0)) == 2
    directions = error / error.norm(dim=1, keepdim=True)
    best = (model.W_dec[dead] @ directions.T).max(dim=1).values
    torch.testing.assert_close(best.detach(), torch.ones(2))
    torch.testing.assert_close(model.W_dec[~dead], living)
    assert not model.b_enc[dead].any()
    moments = optimizer.state[model.W_dec]
    assert not moments["exp_avg"][dead].any()
    assert moments["exp_avg_sq"][~dead].any()


def _halfway() -> SaeTrainer:
    """A BatchTopK training whose threshold of the start is far below the current one."""
    settings = config(dead="resample", epochs=8, resample_every=0.25)
    shape = build_shape("autoencoder", settings, d_in=DIMS, d_out=DIMS)
    trainer = SaeTrainer(SparseAutoencoder(shape), Frames.of(plant(1024).frames), settings, torch.device("cpu"))
    for step in range(16):
        trainer._train_step(step)
    trainer.step = 16
    return trainer


def test_resampling_reads_errors_through_the_features_that_training_selects_now() -> None:
    trainer = _halfway()
    model, (x, y) = trainer.model, trainer._take(trainer.frames.sample(0))
    with torch.no_grad():
        pre = model.pre(x)
        active = pre > pre.flatten().kthvalue(pre.numel() - ACTIVE * len(x)).values.clamp(min=0)
        error = y - (pre * active) @ model.W_dec - model.b_dec
        model.threshold.zero_()  # as at a start whose activations are small
    trainer.idle[:] = 0
    trainer.idle[[2, 5]] = trainer.dead_tokens
    trainer._resample()
    directions = torch.nn.functional.normalize(error)
    best = (model.W_dec[[2, 5]] @ directions.T).max(dim=1).values
    torch.testing.assert_close(best.detach(), torch.ones(2), rtol=0, atol=1e-4)


def test_resampled_features_of_a_kind_with_a_threshold_fire_in_the_next_steps() -> None:
    trainer = _halfway()
    trainer.idle[:] = 0
    trainer.idle[:20] = trainer.dead_tokens
    trainer._resample()
    for step in range(16, 20):
        trainer._train_step(step)
    assert int((trainer.idle[:20] < 4 * trainer.config.batch_size).sum()) > 15
