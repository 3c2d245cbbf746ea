from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from torch import Tensor

from phonoscope.errors import DataError, ParamsError
from phonoscope.vq.quantizers import build_quantizer

KINDS: dict[str, dict[str, Any]] = {
    "ema": {"kind": "ema", "dead_window": 2, "dead_usage": 0.5},
    "unit": {"kind": "ema", "unit_codes": True},
    "rotation": {"kind": "ema", "rotation": True},
    "stacked": {"kind": "ema", "layers": 3},
    "unscaled": {"kind": "ema_unscaled"},
}
every = pytest.mark.parametrize("name", list(KINDS))


def make(name: str, codes: int = 16, seed: int = 0, **changes: Any) -> Any:
    return build_quantizer(dim=8, codes=codes, seed=seed, **{**KINDS[name], **changes})


def vectors(count: int = 64, seed: int = 0) -> Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))


def state(quantizer: Any) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in quantizer.state_dict().items()}


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@every
def test_a_pass_gives_the_nearest_codes_and_shapes(name: str) -> None:
    quantizer = make(name).eval()
    z = vectors(24).reshape(2, 12, 8)
    out = quantizer(z)
    books = quantizer.codebooks()
    assert out.quantized.shape == z.shape
    assert out.codes.shape == (2, 12, len(books))
    assert torch.equal(out.codes[..., 0], torch.cdist(quantizer.prepare(z), books[0]).argmin(dim=-1))
    total, residual = torch.zeros_like(z), quantizer.prepare(z)
    for layer, book in enumerate(books):
        rows = book[out.codes[..., layer]]
        total, residual = total + rows, residual - rows
        assert float(out.distance[layer]) == pytest.approx(float(residual.norm(dim=-1).mean()), rel=1e-5)
        nats = entropy(out.codes[..., layer].flatten().bincount())
        assert float(out.perplexity_batch[layer]) == pytest.approx(math.exp(nats), rel=1e-5)
    torch.testing.assert_close(out.quantized, total)
    assert quantizer.perplexity_ema().tolist() == pytest.approx([16.0] * len(books))  # fresh: used evenly


@pytest.mark.parametrize("name", ["ema", "unit"])
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 60), st.booleans())
def test_unit_inputs_keep_code_norms_at_most_one(name: str, seed: int, batch: int, started: bool) -> None:
    quantizer = make(name, seed=seed).train()
    if started:
        quantizer.start(vectors(40, seed))
    for step in range(6):
        quantizer(vectors(batch, seed + step + 1))
        n = float(quantizer.cluster_sizes()[0].sum())
        # the smoothing may divide by n / (n + K eps) too little
        assert float(quantizer.codebooks()[0].norm(dim=1).max()) <= 1 + 16 * 1e-5 / n + 1e-5


@every
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 40))
def test_same_data_same_usage_frozen_or_in_evaluation_and_no_state_changes(name: str, seed: int, batch: int) -> None:
    quantizer = make(name, seed=seed)
    quantizer.start(vectors(32, seed))
    quantizer.train()(vectors(32, seed + 1))
    before, z = state(quantizer), vectors(batch, seed + 2)
    generator = torch.random.get_rng_state()
    frozen, evaluated = quantizer.train()(z, frozen=True), quantizer.eval()(z)
    for field in ("codes", "perplexity_batch", "commitment", "quantized"):
        assert torch.equal(getattr(frozen, field), getattr(evaluated, field))
    assert same(state(quantizer), before)
    assert torch.equal(torch.random.get_rng_state(), generator)


def trained(name: str, seed: int, steps: int) -> Any:
    quantizer = make(name, seed=seed).train()
    quantizer.start(vectors(32))
    for step in range(steps):
        quantizer(vectors(32, step))
    return quantizer


@every
def test_training_repeats_under_its_seed_whatever_torchs_own_generator(name: str) -> None:
    torch.manual_seed(1)
    first = trained(name, 5, 6)
    torch.manual_seed(2)
    generator = torch.random.get_rng_state()
    assert same(state(trained(name, 5, 6)), state(first))
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert not same(state(trained(name, 6, 6)), state(first))
    resumed = make(name, seed=5).train()
    resumed.load_state_dict(trained(name, 5, 3).state_dict())
    for step in range(3, 6):
        resumed(vectors(32, step))
    assert same(state(resumed), state(first))


@pytest.mark.parametrize("layers", [1, 4])
def test_the_straight_through_gradient_is_the_identity_however_many_layers(layers: int) -> None:
    quantizer = build_quantizer("ema", 8, 16, layers=layers, unit_inputs=False)
    z = vectors().requires_grad_()
    upstream = vectors(seed=1)
    (quantizer(z).quantized * upstream).sum().backward()
    torch.testing.assert_close(z.grad, upstream)


def test_the_rotation_trick_turns_the_gradient_as_the_input_is_turned_to_its_code() -> None:
    quantizer = build_quantizer("ema", 8, 16, unit_inputs=False, rotation=True).eval()
    z = vectors(1).requires_grad_()
    out = quantizer(z).quantized
    torch.testing.assert_close(out, quantizer(z.detach()).quantized, atol=1e-5, rtol=1e-5)
    jacobian = torch.stack([torch.autograd.grad(out[0, i], z, retain_graph=True)[0][0] for i in range(8)]).double()
    scale = float(out.detach().norm() / z.detach().norm())
    torch.testing.assert_close(jacobian @ jacobian.t(), scale**2 * torch.eye(8).double(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close((jacobian @ z[0].double()).float(), out[0], atol=1e-5, rtol=1e-5)


@every
def test_the_commitment_pulls_the_encoder_but_no_code_and_stacking_leaves_less_and_less(name: str) -> None:
    quantizer, z = make(name).train(), vectors().requires_grad_()
    quantizer.start(z.detach())
    out = quantizer(z)
    out.commitment.backward()
    assert float(z.grad.abs().sum()) > 0
    assert not list(quantizer.parameters())  # the codes take no gradient
    assert bool((out.distance.diff() < 0).all())


@every
def test_damaged_wrong_or_too_few_vectors_are_refused_and_change_nothing(name: str) -> None:
    quantizer = make(name).train()
    before = state(quantizer)
    for damage, call in ((math.nan, quantizer), (math.inf, quantizer.start)):
        z = vectors()
        z[3, 2] = damage
        with pytest.raises(DataError, match="1 of 512 values are not finite"):
            call(z)
    for wrong in (torch.zeros(3, 7), torch.zeros(0, 8)):
        with pytest.raises(DataError, match="8 dimensions"):
            quantizer(wrong)
    with pytest.raises(DataError, match="16 codes cannot start from 15 vectors; give"):
        quantizer.start(vectors(15))
    assert same(state(quantizer), before)
    quantizer.start(vectors(16))
    assert not same(state(quantizer), before)


@every
def test_a_batch_of_one_and_a_codebook_of_one(name: str) -> None:
    quantizer = make(name, codes=1).train()
    for step in range(30):
        out = quantizer(vectors(1, step))
        assert all(bool(torch.isfinite(tensor).all()) for tensor in (out.quantized, out.commitment, out.distance))
    assert all(bool(torch.isfinite(tensor.double()).all()) for tensor in quantizer.state_dict().values())
    assert out.perplexity_batch.tolist() == [1.0] * len(quantizer.codebooks())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"kind": "vq"}, "kind: no quantizer 'vq'"),
        ({"kind": "ema", "codes": 0}, "codes 0"),
        ({"kind": "ema", "decay": 1.0}, "decay: 1.0"),
        ({"kind": "ema", "dead_window": -1}, "dead_window -1"),
        ({"kind": "ema", "unit_codes": True, "layers": 2}, "unit_codes"),
        ({"kind": "ema_unscaled", "unit_codes": True}, "unit_codes"),
    ],
)
def test_impossible_settings_are_named(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ParamsError, match=said):
        build_quantizer(dim=8, **arguments)
