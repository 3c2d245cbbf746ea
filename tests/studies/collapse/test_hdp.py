import itertools

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import digamma, gammaln, logsumexp
from scipy.stats import beta

from phonoscope.studies.collapse.base_measures import stick_weights
from phonoscope.studies.collapse.emissions import Categorical, DiagonalGaussian
from phonoscope.studies.collapse.hdp import HDP

from .planted import code_groups, emission_of, everything, groups_of, shapes, vector_groups


@pytest.mark.parametrize("kind", ["codes", "vectors"])
def test_a_planted_number_of_components_is_recovered(kind: str) -> None:
    x = code_groups(30, 40, 4, seed=0) if kind == "codes" else vector_groups(20, 20, 4, seed=0)
    emission = emission_of(kind, 8, 30, 3)
    model = HDP(emission, alpha=2.0, gamma=2.0)
    elbos = model.fit(x, everything(x), 0)
    assert np.diff(elbos).min() > -1e-6 * abs(elbos[-1])
    assert int((emission.shares() > 0.01).sum()) == 4
    weights = model.weights(x, everything(x))
    torch.testing.assert_close(weights.sum(1), torch.ones(len(x), dtype=torch.float64))
    assert float(model.base.mean().sum()) == pytest.approx(1)


def test_held_out_frames_are_as_likely_as_with_the_planted_number_and_likelier_than_with_too_few() -> None:
    x = vector_groups(16, 40, 4, seed=2)
    seen, new = x[:, ::2], x[:, 1::2]
    result = {}
    for truncation in (2, 4, 7):
        model = HDP(DiagonalGaussian(truncation, 3), alpha=2.0, gamma=2.0)
        model.fit(seen, everything(seen), 0)
        weights = model.weights(seen, everything(seen))
        result[truncation] = float(model.log_likelihood(new, everything(new), weights).sum() / everything(new).sum())
    assert result[7] > result[2] + 0.2
    assert result[7] == pytest.approx(result[4], abs=0.02)


def _marginal(counts: np.ndarray, concentrations: np.ndarray) -> float:
    """Log probability of a sequence of draws with these counts from a Dirichlet-categorical."""
    a, n = concentrations.sum(), counts.sum()
    return float(gammaln(a) - gammaln(a + n) + (gammaln(concentrations + counts) - gammaln(concentrations)).sum())


def test_the_elbo_is_below_the_exact_evidence_of_a_small_case() -> None:
    codes, alpha, gamma = np.array([[0, 1], [2, 2]]), 1.5, 2.0
    x = torch.tensor(codes)
    model = HDP(Categorical(2, 3, concentration=0.7), alpha=alpha, gamma=gamma)
    elbos = model.fit(x, everything(x), 0)
    terms = []
    for flat in itertools.product(range(2), repeat=4):
        z = np.array(flat).reshape(2, 2)
        seen = [np.bincount(codes[z == k], minlength=3) for k in range(2)]
        likelihood = sum(_marginal(row, np.full(3, 0.7)) for row in seen)
        used = [np.bincount(row, minlength=2) for row in z]

        def groups(v: float, used: list[np.ndarray] = used) -> float:
            shared = alpha * np.array([v, 1 - v])
            return float(np.exp(sum(_marginal(row, shared) for row in used)) * beta.pdf(v, 1, gamma))

        terms.append(likelihood + np.log(quad(groups, 0, 1)[0]))
    exact = logsumexp(terms)
    assert exact - 3 < max(elbos) < exact


@pytest.mark.parametrize("kind", ["codes", "vectors"])
def test_the_log_likelihood_equals_enumeration_of_all_assignments(kind: str) -> None:
    x, emission = groups_of(kind, 6, 8, 3, seed=3)
    model = HDP(emission, alpha=2.0, gamma=2.0)
    model.fit(x, everything(x), 0, sweeps=5)
    new, mask = x[:2, :4], torch.tensor([[True] * 4, [True] * 2 + [False] * 2])
    weights = model.weights(x, everything(x))[:2]
    density = emission.log_predictive(new).numpy()
    for row, length in ((0, 4), (1, 2)):
        terms = [
            sum(np.log(float(weights[row, k])) + density[row, t, k] for t, k in enumerate(z))
            for z in itertools.product(range(3), repeat=length)
        ]
        assert float(model.log_likelihood(new, mask, weights)[row]) == pytest.approx(logsumexp(terms))


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_clusters_of_the_prior_grow_like_gamma_log_n(gamma: float) -> None:
    draw = torch.Generator().manual_seed(0)
    uniform = torch.rand(300, 200, generator=draw, dtype=torch.float64)
    weights = stick_weights(1 - uniform ** (1 / gamma))  # v ~ Beta(1, gamma)
    torch.testing.assert_close(weights.sum(1), torch.ones(300, dtype=torch.float64))
    for n in (10, 100, 1000):
        seen = (1 - (1 - weights) ** n).sum(1)  # expected distinct components among n draws
        expected = gamma * (digamma(gamma + n) - digamma(gamma))
        assert float(seen.mean()) == pytest.approx(expected, rel=0.1)


@shapes
@pytest.mark.parametrize("kind", ["codes", "vectors"])
def test_degenerate_groups_stay_finite(shape: tuple[int, int], kind: str) -> None:
    x = torch.zeros(shape, dtype=torch.int64) if kind == "codes" else torch.ones(*shape, 2)
    model = HDP(emission_of(kind, 4), alpha=1.0, gamma=1.0)
    assert np.isfinite(model.fit(x, everything(x), 0, sweeps=3)).all()
    assert model.log_likelihood(x, everything(x), model.weights(x, everything(x))).isfinite().all()
