import pytest
import torch
from scipy import stats
from torch import Tensor

from phonoscope.studies.collapse.emissions import Categorical, DiagonalGaussian, Emission


def case(kind: str) -> tuple[Emission, Tensor]:
    draw = torch.Generator().manual_seed(0)
    if kind == "codes":
        return Categorical(1, 5), torch.randint(0, 5, (12,), generator=draw)
    x = torch.randn(12, 3, generator=draw, dtype=torch.float64) * 2 + 1
    emission = DiagonalGaussian(1, 3)
    emission.centre(x)
    return emission, x


def absorb(emission: Emission, x: Tensor) -> None:
    emission.absorb(emission.statistics(x, torch.ones(len(x), 1, dtype=torch.float64)))


@pytest.mark.parametrize("kind", ["codes", "vectors"])
def test_the_bound_of_one_component_is_its_evidence(kind: str) -> None:
    """Conjugacy makes E[log p(x)] - KL the log evidence, which the chain of predictive densities gives as well."""
    emission, x = case(kind)
    evidence = 0.0
    for n in range(len(x)):
        absorb(emission, x[:n])
        evidence += float(emission.log_predictive(x[n : n + 1]))
    absorb(emission, x)
    assert float(emission.expected_log_likelihood(x).sum() - emission.kl()) == pytest.approx(evidence)


def test_predictive_densities_are_normalised_and_close_to_the_data() -> None:
    emission, x = case("codes")
    absorb(emission, x)
    assert float(emission.log_predictive(torch.arange(5)).exp().sum()) == pytest.approx(1)
    gaussian, vectors = case("vectors")
    many = vectors.repeat(500, 1)
    absorb(gaussian, many)
    normal = stats.norm(many.mean(0), many.std(0)).logpdf(vectors).sum(1)
    torch.testing.assert_close(gaussian.log_predictive(vectors)[:, 0], torch.tensor(normal), atol=0.01, rtol=0)


def test_a_stochastic_step_goes_part_of_the_way() -> None:
    emission, x = case("codes")
    weights = torch.ones(len(x), 1, dtype=torch.float64)
    emission.absorb(emission.statistics(x, weights), rate=0.25, scale=4.0)
    torch.testing.assert_close(emission.counts[0], torch.bincount(x, minlength=5).double())
