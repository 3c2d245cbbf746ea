from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from torch import Tensor

from phonoscope.ema import EPSILON
from phonoscope.errors import DataError, ParamsError
from phonoscope.vq.quantizers import UNSCALED_DEAD, EmaCodebook, UnscaledCodebook, build_quantizer
from phonoscope.vq.usage import active_codes, perplexity, perplexity_clamped

from .clusters import Clusters

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


def book(kind: type[EmaCodebook] = EmaCodebook, **changes: float) -> EmaCodebook:
    settings = {"decay": 0.9, "unit_codes": False, "dead_window": 0, "dead_usage": 0.1, "seed": 0, **changes}
    return kind(4, 6, **settings)


def nearest(vectors: Tensor, rows: Tensor) -> Tensor:
    return (vectors[:, None] - rows[None]).norm(dim=-1).argmin(dim=1)


@pytest.mark.parametrize("kind", [EmaCodebook, UnscaledCodebook])
def test_the_update_is_the_papers_but_for_one_factor(kind: type[EmaCodebook]) -> None:
    vectors = torch.randn(40, 4, generator=torch.Generator().manual_seed(1))
    one = book(kind).train()
    rows, sizes, sums = one.embed.clone(), one.cluster_size.clone(), one.embed_avg.clone()
    codes = nearest(vectors, rows)
    result = one.assign(vectors, update=True)
    assert torch.equal(result.codes, codes)
    assert torch.equal(result.rows, rows[codes])  # the codes from before the update

    for code in range(6):
        mine = vectors[codes == code]
        sizes[code] = 0.9 * sizes[code] + 0.1 * len(mine)
        sums[code] = 0.9 * sums[code] + 0.1 * mine.sum(dim=0)
    n = sizes.sum()
    smoothed = (sizes + EPSILON) / (n + 6 * EPSILON) * (1 if kind is UnscaledCodebook else n)
    torch.testing.assert_close(one.embed, sums / smoothed[:, None])
    torch.testing.assert_close(one.cluster_size, sizes)


def test_the_start_is_k_means_and_no_code_begins_without_weight() -> None:
    points = torch.eye(4).repeat(8, 1)  # 4 distinct points for 6 codes
    one = book()
    one.start(points)
    torch.testing.assert_close(one.embed[nearest(points, one.embed)], points)
    assert float(one.cluster_size.min()) > 0
    torch.testing.assert_close(one.embed_avg, one.embed * one.cluster_size[:, None])


def test_dead_codes_are_replaced_by_the_batch_at_the_end_of_the_window() -> None:
    one = book(dead_window=3).train()
    vectors = one.embed[:2].repeat_interleave(50, dim=0)  # only two codes are used
    restarted = [one.assign(vectors, update=True).restarted for _ in range(3)]
    assert restarted == [0, 0, 4]
    assert float(torch.cdist(one.embed, vectors).min(dim=1).values.max()) < 1e-3


def test_a_unit_code_that_decayed_to_nothing_is_not_the_nearest() -> None:
    one = book(unit_codes=True).eval()
    one.embed.zero_()
    one.embed[3, 0] = 1.0
    oblique = torch.tensor([[0.4, (1 - 0.4**2) ** 0.5, 0.0, 0.0]])
    assert one.assign(oblique, update=False).codes.tolist() == [3]


def test_usage_is_relative_to_uniform_whatever_the_batch() -> None:
    for batch in (12, 1200):
        one = book(dead_window=1, dead_usage=0.3).train()
        shares = torch.tensor([0.5, 0.25, 0.25 / 3, 0.25 / 3, 0.25 / 3, 0.0])  # the last is under 0.3 / 6
        codes = torch.repeat_interleave(torch.arange(6), (shares * batch).round().long())
        assert one.assign(one.embed[codes], update=True).restarted == 1
    one = book(dead_window=1).train()  # more dead codes than vectors: as far as the vectors go
    assert one.assign(torch.ones(1, 4), update=True).restarted == 1
    assert torch.isfinite(one.embed).all()


def test_the_faulty_restart_leaves_the_accumulators() -> None:
    one = book(UnscaledCodebook, decay=0.0).train()
    vectors = one.embed[:1].repeat(30, 1)
    result = one.assign(vectors, update=True)
    assert result.restarted == 5
    torch.testing.assert_close(one.embed[1:], vectors[:5])
    assert bool((one.cluster_size[1:] < UNSCALED_DEAD).all())
    assert not one.embed_avg[1:].any()


def study(kind: str, batch: int, codes: int, steps: int) -> dict[str, float]:
    """Medians over the second half of `steps` training batches, and of frozen passes between them."""
    data = Clusters(dim=64)
    quantizer = build_quantizer(kind, 64, codes, seed=0)
    quantizer.start(data.draw(2 * codes))
    seen: dict[str, list[float]] = {"train": [], "ema": [], "active_ema": [], "eval": [], "printed": []}
    for step in range(steps):
        trained = quantizer.train()(data.draw(batch))
        if step < steps // 2 or step % 3:
            continue
        sizes = quantizer.cluster_sizes()
        counts = torch.bincount(quantizer.eval()(data.draw(batch)).codes[:, 0], minlength=codes)
        values = (trained.perplexity_batch, perplexity(sizes[0]), active_codes(sizes[0], 1e-3), perplexity(counts))
        for key, value in zip(seen, (*values, perplexity_clamped(counts)), strict=True):
            seen[key].append(float(value))
    medians = {key: float(torch.tensor(values).median()) for key, values in seen.items()}
    return medians | {"norm": float(quantizer.codebooks()[0].norm(dim=1).median()), "least": min(seen["printed"])}


def test_the_faulty_update_uses_two_codes_while_its_monitor_reads_a_hundred() -> None:
    faulty = study("ema_unscaled", batch=100, codes=512, steps=600)
    assert 1 <= faulty["train"] <= 5
    assert 1 <= faulty["eval"] <= 5
    assert 50 <= faulty["ema"] <= 200
    assert faulty["active_ema"] >= 60
    assert faulty["least"] == pytest.approx(1.0606, abs=1e-4)
    assert faulty["norm"] > 20


def test_the_right_update_says_the_same_in_training_and_evaluation() -> None:
    right = study("ema", batch=400, codes=512, steps=60)
    assert right["train"] > 50  # of 400 vectors around 50 directions
    assert right["eval"] == pytest.approx(right["train"], rel=0.1)
    assert right["norm"] <= 1
