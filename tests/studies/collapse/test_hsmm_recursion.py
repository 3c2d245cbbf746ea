import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hmmlearn.hmm import CategoricalHMM
from scipy.special import logsumexp
from torch import Tensor

from phonoscope.studies.collapse.base_measures import LOG_ZERO
from phonoscope.studies.collapse.hsmm_recursion import LogParameters, expected_counts, log_partition, viterbi

STATES = 3
censoring = pytest.mark.parametrize("censored", [False, True])


def chain(seed: int, d_max: int, states: int = STATES) -> LogParameters:
    draw = torch.Generator().manual_seed(seed)
    initial = torch.randn(states, generator=draw, dtype=torch.float64).log_softmax(0)
    scores = torch.randn(states, states, generator=draw, dtype=torch.float64)
    transitions = torch.where(torch.eye(states).bool(), LOG_ZERO, scores).log_softmax(1)
    durations = torch.randn(states, d_max, generator=draw, dtype=torch.float64).log_softmax(1)
    return LogParameters(initial, transitions.clamp_min(LOG_ZERO), durations)


def emissions(batch: int, steps: int, seed: int, states: int = STATES) -> Tensor:
    return torch.randn(batch, steps, states, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def segmentations(steps: int, d_max: int) -> Iterator[list[tuple[int, int]]]:
    """Every way to cut so many frames into (state, duration) with no state after itself."""
    for parts in range(1, steps + 1):
        for lasting in itertools.product(range(1, d_max + 1), repeat=parts):
            if sum(lasting) == steps:
                for states in itertools.product(range(STATES), repeat=parts):
                    if all(a != b for a, b in itertools.pairwise(states)):
                        yield list(zip(states, lasting, strict=True))


def score(cut: list[tuple[int, int]], log_b: np.ndarray, parameters: LogParameters, censored: bool) -> float:
    initial, transitions, durations = (value.numpy() for value in parameters)
    total, t = initial[cut[0][0]], 0
    for n, (state, lasting) in enumerate(cut):
        total += transitions[cut[n - 1][0], state] if n else 0
        last = censored and n == len(cut) - 1
        total += np.log(np.exp(durations[state, lasting - 1 :]).sum()) if last else durations[state, lasting - 1]
        total += log_b[t : t + lasting, state].sum()
        t += lasting
    return float(total)


@censoring
@pytest.mark.parametrize("d_max", [2, 4, 6])
def test_likelihood_counts_and_best_path_equal_enumeration(d_max: int, censored: bool) -> None:
    parameters, lengths = chain(0, d_max), torch.tensor([6, 1, 3, 5])
    log_b = emissions(4, 6, 1)
    result = expected_counts(log_b, parameters, lengths, censored=censored)
    path, best = viterbi(log_b, parameters, lengths, censored=censored)
    for row, length in enumerate(lengths.tolist()):
        cuts = list(segmentations(length, d_max))
        scores = np.array([score(cut, log_b[row].numpy(), parameters, censored) for cut in cuts])
        assert float(result.log_likelihood[row]) == pytest.approx(logsumexp(scores))
        assert float(best[row]) == pytest.approx(scores.max())
        expected = [state for state, lasting in cuts[int(scores.argmax())] for _ in range(lasting)]
        assert path[row].tolist() == expected + [-1] * (6 - length)
        weights = np.exp(scores - logsumexp(scores))
        frames, pieces = np.zeros((6, STATES)), np.zeros(STATES)
        for cut, weight in zip(cuts, weights, strict=True):
            frames[np.arange(length), [s for s, d in cut for _ in range(d)]] += weight
            for state, _ in cut:
                pieces[state] += weight
        np.testing.assert_allclose(result.occupancy[row], frames, atol=1e-9)
        np.testing.assert_allclose(result.durations[row].sum(1), pieces, atol=1e-9)
    assert float(result.initial.sum()) == pytest.approx(4)
    assert float(result.transitions.sum() + 4) == pytest.approx(float(result.durations.sum()))


@pytest.mark.parametrize("d_max", [12, 20])
def test_geometric_durations_make_an_hmm(d_max: int) -> None:
    stay, draw = np.array([0.6, 0.3, 0.8]), np.random.default_rng(0)
    parameters = chain(2, d_max)
    powers = stay[:, None] ** np.arange(d_max)
    durations = powers * (1 - stay[:, None])
    durations[:, -1] = powers[:, -1]  # d_max or more
    parameters = parameters._replace(durations=torch.tensor(durations).log())
    hmm = CategoricalHMM(STATES)
    hmm.startprob_ = parameters.initial.exp().numpy()
    hmm.transmat_ = np.diag(stay) + (1 - stay[:, None]) * parameters.transitions.exp().numpy()
    hmm.emissionprob_ = draw.dirichlet(np.ones(4), size=STATES)
    codes = draw.integers(4, size=(5, 12))
    log_b = torch.tensor(np.log(hmm.emissionprob_.T[codes]))
    result = expected_counts(log_b, parameters, torch.full((5,), 12), censored=True)
    for row in range(5):
        assert float(result.log_likelihood[row]) == pytest.approx(hmm.score(codes[row][:, None]))
        np.testing.assert_allclose(result.occupancy[row], hmm.predict_proba(codes[row][:, None]), atol=1e-8)


@censoring
def test_gradients_agree_with_finite_differences(censored: bool) -> None:
    parameters, lengths = chain(3, 3), torch.tensor([3, 2])
    off = ~torch.eye(STATES, dtype=torch.bool)

    def likelihood(log_b: Tensor, initial: Tensor, transitions: Tensor, durations: Tensor) -> Tensor:
        table = torch.full((STATES, STATES), LOG_ZERO, dtype=torch.float64).masked_scatter(off, transitions)
        return log_partition(log_b, LogParameters(initial, table, durations), lengths, censored=censored)

    def occupancy(log_b: Tensor) -> Tensor:
        return expected_counts(log_b, parameters, lengths, censored=censored, differentiable=True).occupancy

    inputs = (emissions(2, 3, 4), parameters.initial, parameters.transitions[off], parameters.durations)
    assert torch.autograd.gradcheck(likelihood, [value.clone().requires_grad_() for value in inputs])
    assert torch.autograd.gradcheck(occupancy, [inputs[0].clone().requires_grad_()])


def test_padding_and_other_sequences_do_not_matter() -> None:
    parameters, log_b = chain(5, 4), emissions(2, 9, 6)
    alone = log_partition(log_b[:1, :5], parameters, torch.tensor([5]))
    log_b[0, 5:] = float("nan")
    together = log_partition(log_b, parameters, torch.tensor([5, 9]))
    torch.testing.assert_close(together[:1], alone)


def test_long_and_unlikely_sequences_stay_finite() -> None:
    parameters = chain(7, 8)
    result = expected_counts(1e3 * emissions(2, 1500, 8), parameters, torch.tensor([1500, 1]))
    assert all(value.isfinite().all() for value in result)
    torch.testing.assert_close(result.occupancy.sum(-1).sum(1), torch.tensor([1500.0, 1.0], dtype=torch.float64))


def test_one_state_cannot_follow_itself() -> None:
    parameters = chain(9, 4, states=1)._replace(transitions=torch.tensor([[LOG_ZERO]], dtype=torch.float64))
    value = log_partition(emissions(1, 5, 0, states=1), parameters, torch.tensor([5]))
    assert float(value) < LOG_ZERO / 2  # five frames are too many for one segment of at most four
