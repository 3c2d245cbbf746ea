"""An explicit-duration hidden semi-Markov model with categorical durations, fitted by variational EM.

Conjugate posteriors take the place of point estimates: Dirichlet over first states, transitions and durations
(pseudo-counts of 1/2), and the emissions' posteriors. Expected log parameters enter the recursion (Beal 2003, ch. 3);
expected segment counts become the posteriors' counts; the evidence lower bound (ELBO) never falls. The rows of
transitions share a base measure: a uniform beta here, a learned one in the HDP-HSMM.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Dirichlet, kl_divergence

from phonoscope.studies.collapse.base_measures import LOG_ZERO, BaseMeasure, expected_log
from phonoscope.studies.collapse.emissions import Emission, Statistics
from phonoscope.studies.collapse.hsmm_recursion import (
    ExpectedCounts,
    LogParameters,
    expected_counts,
    log_partition,
    viterbi,
)
from phonoscope.studies.collapse.starts import first_responsibilities

DURATION_PRIOR = 0.5
"""Pseudo-count of every duration."""


class HSMMStatistics(NamedTuple):
    """Sufficient statistics of a batch."""

    rows: Tensor
    """[S + 1, S]: first segments, then transitions from each state."""
    durations: Tensor
    """[S, Dmax]."""
    emission: Statistics


class HSMM(nn.Module):
    """The model. A sequence is a row of a batch: frames [B, T] or [B, T, D] with a mask [B, T] of leading real ones.

    `censored`: the last segment of a sequence may continue beyond its end.
    """

    def __init__(
        self,
        emission: Emission,
        d_max: int,
        *,
        alpha: float,
        base: BaseMeasure | None = None,
        censored: bool = False,
    ) -> None:
        super().__init__()
        states = emission.components
        self.emission = emission
        self.base = base or BaseMeasure(states)
        self.alpha = alpha
        self.censored = censored
        self.register_buffer("rows", torch.zeros(states + 1, states, dtype=torch.float64))
        self.register_buffer("durations", torch.zeros(states, d_max, dtype=torch.float64))
        self.register_buffer("allowed", torch.cat([torch.ones(1, states), 1 - torch.eye(states)]).bool())
        self.rows: Tensor
        self.durations: Tensor
        self.allowed: Tensor

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
        scores = self.emission.expected_log_likelihood(x)
        parameters = self.expected_log_parameters()
        return expected_counts(scores, parameters, mask.sum(1), censored=self.censored, differentiable=differentiable)

    @torch.no_grad()
    def statistics(self, x: Tensor, mask: Tensor, expected: ExpectedCounts) -> HSMMStatistics:
        """Sufficient statistics of a batch with these expectations."""
        rows = torch.cat([expected.initial[None], expected.transitions]).detach()
        emission = self.emission.statistics(x[mask], expected.occupancy.detach()[mask])
        return HSMMStatistics(rows, expected.durations.detach().sum(0), emission)

    @torch.no_grad()
    def kl(self) -> Tensor:
        """KL of all posteriors from their priors: scalar."""
        posterior = self._posterior_rows()
        logs = torch.where(self.allowed, expected_log(posterior, self.allowed), 0.0)
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
        self.base.raw = self.base.refine(self.rows, self.alpha, self.allowed, scale=1.0, iterations=iterations)

    @torch.no_grad()
    def start(self, x: Tensor, mask: Tensor, seed: int) -> None:
        """Set the emissions from data; the chain stays at its prior."""
        self.emission.centre(x[mask])
        weights = first_responsibilities(self.emission, x, mask, seed)
        self.emission.absorb(self.emission.statistics(x[mask], weights))

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
        return log_partition(scores, self.mean_parameters(), mask.sum(1), censored=self.censored)

    def decode(self, x: Tensor, mask: Tensor) -> Tensor:
        """The state of every frame in the best segmentation [B, T]; -1 at padding."""
        scores = self.emission.log_predictive(x)
        return viterbi(scores, self.mean_parameters(), mask.sum(1), censored=self.censored)[0]
