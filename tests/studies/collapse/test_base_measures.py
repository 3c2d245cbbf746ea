import pytest
import torch
from scipy.special import gammaln
from torch.distributions import Beta, Dirichlet

from phonoscope.studies.collapse.base_measures import (
    BaseMeasure,
    StickBreaking,
    WeakLimit,
    log_normaliser,
    stick_weights,
)

ALPHA = 1.7
ALLOWED = torch.tensor([[True, True, True, True], [False, True, True, True]])


def learned(kind: str) -> StickBreaking | WeakLimit:
    measure = StickBreaking(4, 2.0) if kind == "sticks" else WeakLimit(4, 2.0)
    measure.raw = torch.randn(measure.raw.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return measure


def draws(measure: StickBreaking | WeakLimit) -> torch.Tensor:
    torch.manual_seed(0)
    if isinstance(measure, WeakLimit):
        return Dirichlet(measure.raw.exp()).sample((40000,))
    return stick_weights(Beta(*measure.raw.exp()).sample((40000,)))


def test_rows_of_even_weights_have_the_dirichlet_multinomial_evidence() -> None:
    counts = torch.tensor([[2.0, 0, 1, 3], [0, 1, 1, 0]], dtype=torch.float64)
    result = BaseMeasure(4).row_evidence(counts, ALPHA, ALLOWED)
    for row, (n, kept) in enumerate(zip(counts.numpy(), ALLOWED.numpy(), strict=True)):
        a = ALPHA / 4
        total = a * kept.sum()
        expected = gammaln(total) - gammaln(total + n.sum()) + (gammaln(a + n[kept]) - gammaln(a)).sum()
        assert float(result[row]) == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["sticks", "weak_limit"])
def test_moments_and_the_bound_on_the_normaliser_agree_with_draws(kind: str) -> None:
    measure = learned(kind)
    beta = draws(measure)
    torch.testing.assert_close(measure.mean(), beta.mean(0), atol=0.01, rtol=0)
    torch.testing.assert_close(measure.mean_log(), beta.log().mean(0), atol=0.1, rtol=0)
    assert float(measure.mean().sum()) == pytest.approx(1)
    exact = log_normaliser(ALPHA * beta[:, None], ALLOWED).mean(0)
    assert (measure.log_normaliser(ALPHA, ALLOWED) < exact).all()


@pytest.mark.parametrize("kind", ["sticks", "weak_limit"])
def test_refining_raises_the_bound_and_finds_the_used_components(kind: str) -> None:
    measure = learned(kind)
    counts = torch.tensor([30.0, 10, 0, 0], dtype=torch.float64).repeat(8, 1)
    allowed = torch.ones(8, 4, dtype=torch.bool)

    def bound() -> float:
        return float(measure.row_evidence(counts, ALPHA, allowed).sum() - measure.kl())

    before = bound()
    kept = measure.raw.clone()
    best = measure.refine(counts, ALPHA, allowed, scale=1.0, iterations=20)
    assert torch.equal(measure.raw, kept)
    measure.raw = best
    assert bound() > before
    assert float(measure.mean()[:2].sum()) > 0.7
