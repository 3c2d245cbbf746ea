"""The losses by their formulas, and the pseudo-derivatives of JumpReLU."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from phonoscope.sae.kinds.jumprelu import heaviside, jump_relu
from phonoscope.sae.models import SparseAutoencoder
from phonoscope.sae.train import Step, losses
from tests.sae.planted import gaussian, random_model

N, D, WIDTH = 6, 4, 8


def _model(kind: str, options: dict[str, Any] | None = None, **changes: Any) -> SparseAutoencoder:
    return random_model(kind=kind, options=options or {}, d_in=D, d_out=D, d_sae=WIDTH, k=2, **changes)


def _take(model: SparseAutoencoder) -> tuple[Step, Tensor]:
    x = gaussian(N, D, seed=4)
    pattern, values, _ = model.select(x)
    return losses(model, x, x, pattern, values), x


def test_l1_counts_each_activation_by_its_decoder_norm() -> None:
    model = _model("relu", {"l1": 0.3})
    step, x = _take(model)
    activations = model.pre(x).relu()
    by_hand = 0.3 * (activations * model.W_dec.norm(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(step.sparsity, by_hand)
    torch.testing.assert_close(step.reconstruction, (x - model.decode(activations)).pow(2).sum(dim=1).mean())


def test_nested_groups_each_reconstruct_alone() -> None:
    model = _model("matryoshka", {"groups": [0.25, 0.5, 1.0]})
    step, x = _take(model)
    pattern, values, _ = model.select(x)
    activations = torch.zeros(N, WIDTH)
    activations[pattern.rows, pattern.columns] = values
    errors = [
        (x - activations[:, :size] @ model.W_dec[:size] - model.b_dec).pow(2).sum(dim=1).mean() for size in (2, 4, 8)
    ]
    torch.testing.assert_close(step.reconstruction, torch.stack(errors).mean())
    assert float(step.l0) == pytest.approx(2.0)


def test_jumprelus_penalty_is_zero_at_the_l0_aimed_at() -> None:
    model = _model("jumprelu", {"l0": 3.0})
    with torch.no_grad():
        model.threshold.fill_(0.5)
    step, x = _take(model)
    l0 = float((model.pre(x) > 0.5).sum(dim=1).float().mean())
    assert float(step.l0) == pytest.approx(l0)
    assert float(step.sparsity.detach()) == pytest.approx(3.0 * (l0 / 2 - 1) ** 2)


def test_pseudo_derivatives_are_those_of_the_paper() -> None:
    z = torch.tensor([0.4, 0.96, 1.04, 2.0], requires_grad=True)
    threshold = torch.ones(4, requires_grad=True)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    output = jump_relu(z, threshold, 0.1)
    assert output.tolist() == pytest.approx([0.0, 0.0, 1.04, 2.0])
    (output * weights).sum().backward()
    assert z.grad is not None
    assert threshold.grad is not None
    assert z.grad.tolist() == [0.0, 0.0, 3.0, 4.0]
    assert threshold.grad.tolist() == pytest.approx([0.0, -20.0, -30.0, 0.0])  # -threshold / bandwidth, near it
    threshold.grad = None
    heaviside(z, threshold, 0.1).sum().backward()
    assert threshold.grad is not None
    assert torch.Tensor(threshold.grad).tolist() == pytest.approx([0.0, -10.0, -10.0, 0.0])
