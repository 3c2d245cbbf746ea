from __future__ import annotations

import pytest
import torch
from torch import Tensor

from phonoscope.ema import EPSILON
from phonoscope.vq.quantizers import UNSCALED_DEAD, EmaCodebook, UnscaledCodebook, build_quantizer
from phonoscope.vq.usage import active_codes, perplexity, perplexity_clamped

from .clusters import Clusters


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
