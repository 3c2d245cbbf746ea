"""Explicit-duration hidden semi-Markov models with categorical durations, fitted by variational EM.

Conjugate posteriors take the place of point estimates: Dirichlet over first states, transitions and durations
(pseudo-counts of 1/2), and the emissions' posteriors. Expected log parameters enter the recursion (Beal 2003, ch. 3);
expected segment counts become the posteriors' counts; the evidence lower bound (ELBO) never falls. The rows of
transitions share a base measure: a uniform beta in the HSMM, a learned one in the HDP-HSMM.
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Dirichlet, kl_divergence

from phonoscope.studies.collapse import hsmm_recursion as recursion
from phonoscope.studies.collapse.base_measures import LOG_ZERO, BaseMeasure, WeakLimit, expected_log
from phonoscope.studies.collapse.emissions import Emission, Statistics
from phonoscope.studies.collapse.hsmm_recursion import ExpectedCounts, LogParameters
from phonoscope.studies.collapse.starts import merge_candidates, start_emission

DURATION_PRIOR = 0.5  # pseudo-count of every duration
TRIAL_SWEEPS = 5  # sweeps after a merger, before its ELBO is compared


class HSMMStatistics(NamedTuple):
    """Sufficient statistics of a batch."""

    rows: Tensor  # [S + 1, S]: first segments, then transitions from each state
    durations: Tensor  # [S, Dmax]
    emission: Statistics


class HSMM(nn.Module):
    """The model. A sequence is a row of a batch: frames [B, T] or [B, T, D] with a mask [B, T] of leading real ones.

    `censored`: the last segment of a sequence may continue beyond its end.
    """

    rows: Tensor
    durations: Tensor
    allowed: Tensor  # first segments may have any state; none is followed by itself

    def __init__(
        self, emission: Emission, d_max: int, *, alpha: float, base: BaseMeasure | None = None, censored: bool = False
    ) -> None:
        super().__init__()
        states = emission.components
        self.emission, self.base = emission, base or BaseMeasure(states)
        self.alpha, self.censored = alpha, censored
        self.register_buffer("rows", torch.zeros(states + 1, states, dtype=torch.float64))
        self.register_buffer("durations", torch.zeros(states, d_max, dtype=torch.float64))
        self.register_buffer("allowed", torch.cat([torch.ones(1, states), 1 - torch.eye(states)]).bool())

    def _posterior_rows(self) -> Tensor:
        return self.alpha * self.base.mean() + self.rows

    def expected_log_parameters(self) -> LogParameters:
        """E[log] of first states, transitions and durations under their posteriors."""
        rows = expected_log(self._posterior_rows(), self.allowed)
        durations = DURATION_PRIOR + self.durations
        return LogParameters(rows[0], rows[1:], durations.digamma() - durations.sum(1, keepdim=True).digamma())

    def mean_parameters(self) -> LogParameters:
        """Logs of the posterior means."""
        rows = torch.where(self.allowed, self._posterior_rows(), 0.0)
        durations = DURATION_PRIOR + self.durations
        chances = (rows / rows.sum(1, keepdim=True)).log().clamp_min(LOG_ZERO)
        return LogParameters(chances[0], chances[1:], (durations / durations.sum(1, keepdim=True)).log())

    def expectations(self, x: Tensor, mask: Tensor, *, differentiable: bool = False) -> ExpectedCounts:
        """Posterior expectations of the segments of a batch; `differentiable` in vectors x."""
        # exp(E[log theta]) does not sum to 1, but is the weight that the optimal q(segments) has (Beal 2003, ch. 3)
        scores, weights = self.emission.expected_log_likelihood(x), self.expected_log_parameters()
        return recursion.expected_counts(
            scores, weights, mask.sum(1), censored=self.censored, differentiable=differentiable
        )

    @torch.no_grad()
    def statistics(self, x: Tensor, mask: Tensor, expected: ExpectedCounts) -> HSMMStatistics:
        """Sufficient statistics of a batch with these expectations."""
        rows = torch.cat([expected.initial[None], expected.transitions])
        emission = self.emission.statistics(x[mask], expected.occupancy[mask])
        return HSMMStatistics(rows, expected.durations.sum(0), emission)

    @torch.no_grad()
    def kl(self) -> Tensor:
        """KL of all posteriors from their priors: scalar."""
        # row_evidence is E[log p(z | pi)] - KL, and rows * E[log pi] its first term: their difference is the rows' KL
        logs = torch.where(self.allowed, expected_log(self._posterior_rows(), self.allowed), 0.0)
        rows = (self.rows * logs).sum() - self.base.row_evidence(self.rows, self.alpha, self.allowed).sum()
        prior = Dirichlet(torch.full_like(self.durations, DURATION_PRIOR), validate_args=False)
        lasting = kl_divergence(Dirichlet(DURATION_PRIOR + self.durations, validate_args=False), prior).sum()
        return rows + lasting + self.base.kl() + self.emission.kl()

    @torch.no_grad()
    def learn(self, statistics: HSMMStatistics, *, rate: float = 1.0, scale: float = 1.0, iterations: int = 3) -> None:
        """Move the posteriors by `rate` (1: all the way) to the optimum for the batch counted `scale` times."""
        self.rows = torch.lerp(self.rows, scale * statistics.rows * self.allowed, rate)
        self.durations = torch.lerp(self.durations, scale * statistics.durations, rate)
        self.emission.absorb(statistics.emission, rate=rate, scale=scale)
        # the rows are moved and scaled already, so the base measure goes all the way to its optimum for them
        self.base.raw = self.base.refine(self.rows, self.alpha, self.allowed, scale=1.0, iterations=iterations)

    @torch.no_grad()
    def start(self, x: Tensor, mask: Tensor, seed: int) -> None:
        """Set the emissions from data; the chain stays at its prior."""
        start_emission(self.emission, x, mask, seed)

    @torch.no_grad()
    def fit(self, x: Tensor, mask: Tensor, seed: int, *, sweeps: int = 100, tolerance: float = 1e-5) -> list[float]:
        """Variational EM from `start`; returns the ELBO before every M step, which never falls."""
        self.start(x, mask, seed)
        elbos: list[float] = []
        self._ascend(x, mask, elbos, sweeps, tolerance)
        return elbos

    def _ascend(self, x: Tensor, mask: Tensor, elbos: list[float], sweeps: int, tolerance: float) -> None:
        for sweep in range(sweeps):
            expected = self.expectations(x, mask)
            elbos.append(float(expected.log_likelihood.sum() - self.kl()))
            self.learn(self.statistics(x, mask, expected))
            if sweep > 0 and elbos[-1] - elbos[-2] < tolerance * abs(elbos[-1]):
                break

    @torch.no_grad()
    def log_likelihood(self, x: Tensor, mask: Tensor) -> Tensor:
        """log p of every sequence under the posterior means and the emissions' predictive densities: [B]."""
        scores = self.emission.log_predictive(x)
        return recursion.log_partition(scores, self.mean_parameters(), mask.sum(1), censored=self.censored)

    def decode(self, x: Tensor, mask: Tensor) -> Tensor:
        """The state of every frame in the best segmentation [B, T]; -1 at padding."""
        scores = self.emission.log_predictive(x)
        return recursion.viterbi(scores, self.mean_parameters(), mask.sum(1), censored=self.censored)[0]


class HDPHSMM(HSMM):
    """The HDP-HSMM in its weak-limit approximation (Johnson and Willsky 2013, JMLR 14).

    beta ~ Dir(gamma / S, ..., gamma / S), and rows of transitions pi_i ~ Dir(alpha beta) without entry i: states
    compete in all rows at once and unused ones fade, so S is only an upper bound of their number. The posteriors are
    variational, as in their stochastic variant (2014, ICML), with a Dirichlet q(beta) in place of a point; merge moves
    (Hughes, Kim and Sudderth 2015) join two states that model the same segments.
    """

    def __init__(self, emission: Emission, d_max: int, *, alpha: float, gamma: float, censored: bool = False) -> None:
        base = WeakLimit(emission.components, gamma)
        super().__init__(emission, d_max, alpha=alpha, base=base, censored=censored)

    @torch.no_grad()
    def fit(self, x: Tensor, mask: Tensor, seed: int, *, sweeps: int = 100, tolerance: float = 1e-5) -> list[float]:
        """The HSMM's fit, then mergers of states, each followed by more sweeps, as long as they raise the ELBO."""
        elbos = super().fit(x, mask, seed, sweeps=sweeps, tolerance=tolerance)
        while self._merge(x, mask, elbos):
            self._ascend(x, mask, elbos, sweeps, tolerance)
        return elbos

    def _merge(self, x: Tensor, mask: Tensor, elbos: list[float]) -> bool:
        weights = self.expectations(x, mask).occupancy[mask]
        for kept, gone in merge_candidates(self.emission, x[mask], weights):
            trial, trial_elbos = copy.deepcopy(self), elbos[-1:]
            trial._pour(x[mask], weights, kept, gone)
            # the chain has to settle first: right after it the ELBO of a good merger may be lower too
            trial._ascend(x, mask, trial_elbos, TRIAL_SWEEPS, 0.0)
            if trial_elbos[-1] > elbos[-1]:
                self.load_state_dict(trial.state_dict())
                elbos.append(trial_elbos[-1])
                return True
        return False

    def _pour(self, frames: Tensor, weights: Tensor, kept: int, gone: int) -> None:
        """Move one state's frames and transitions to another; the durations of the joint state are learnt anew."""
        joined = weights.clone()
        joined[:, kept] += joined[:, gone]
        joined[:, gone] = 0
        self.emission.absorb(self.emission.statistics(frames, joined))
        for view in (self.rows[1:], self.rows.T):  # rows from a state, columns to it
            view[kept] += view[gone]
            view[gone] = 0
        self.rows *= self.allowed
        self.durations[[kept, gone]] = 0
