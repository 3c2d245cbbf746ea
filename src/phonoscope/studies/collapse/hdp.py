"""A hierarchical Dirichlet process mixture, fitted by its evidence lower bound (ELBO).

beta ~ GEM(gamma) is shared; group j (an utterance) has weights pi_j ~ DP(alpha, beta), under truncation
Dir(alpha beta); its frame i has a component z_ji ~ pi_j and a value x_ji ~ F(theta_z), theta_k ~ H (Teh et al. 2006).
Mean-field posterior q(v) q(pi) q(z) q(theta), coordinate ascent with merge moves after Hughes, Kim and Sudderth (2015).
"""

import copy
from typing import NamedTuple

import torch
from torch import Tensor, nn

from phonoscope.studies.collapse.base_measures import StickBreaking
from phonoscope.studies.collapse.emissions import Emission, Statistics
from phonoscope.studies.collapse.starts import merge_candidates, start_emission


class HDPPosterior(NamedTuple):
    """Posterior of a batch of groups."""

    responsibilities: Tensor  # q(z), [J, T, K]; 0 at padding, else rows sum to 1
    counts: Tensor  # expected frames of each component in each group, [J, K]
    evidence: Tensor  # the groups' part of the ELBO, scalar: E[log p(x, z, pi)] - E[log q(z, pi)]


class HDPStatistics(NamedTuple):
    """Sufficient statistics of a batch."""

    counts: Tensor  # [J, K]
    emission: Statistics


class HDP(nn.Module):
    """The mixture. Groups are rows of a batch: frames [J, T] or [J, T, D] with a mask [J, T]."""

    def __init__(self, emission: Emission, *, alpha: float, gamma: float) -> None:
        super().__init__()
        self.emission, self.alpha = emission, alpha
        self.base = StickBreaking(emission.components, gamma)

    def start(self, x: Tensor, mask: Tensor, seed: int) -> Tensor:
        """Set the components from data; returns the groups' counts [J, K]."""
        weights = start_emission(self.emission, x, mask, seed)
        full = weights.new_zeros(*mask.shape, weights.shape[1])
        full[mask] = weights
        return full.sum(1)

    def posterior(self, x: Tensor, mask: Tensor, iterations: int, counts: Tensor | None = None) -> HDPPosterior:
        """Alternate between q(z) and q(pi_j) in every group, from given counts or from the base measure alone.

        Differentiable in vectors x.
        """
        scores = self.emission.expected_log_likelihood(x)
        # q(z_ji = k) ~ exp(E[log pi_jk] + E[log p(x_ji | k)]), q(pi_j) = Dir(alpha E[beta] + counts_j);
        # digamma(sum) of E[log pi_j] is the same for all components, so the softmax cancels it
        prior = self.alpha * self.base.mean()
        log_weights = prior.log() if counts is None else torch.digamma(prior + counts)[:, None]
        for _ in range(iterations):
            logits = scores + log_weights
            shares = logits.softmax(-1) * mask[..., None]
            counts = shares.sum(1)
            log_weights = torch.digamma(prior + counts)[:, None]
        assert counts is not None
        rows = self.base.row_evidence(counts, self.alpha, torch.ones_like(counts, dtype=torch.bool)).sum()
        # log_softmax, not the log of the shares: the entropy of a share of 0 is 0, not NaN, and so is its gradient
        evidence = (shares * (scores - logits.log_softmax(-1))).sum() + rows
        return HDPPosterior(shares, counts, evidence)

    def kl(self) -> Tensor:
        """KL of the shared variables: the sticks and the components' parameters."""
        return self.base.kl() + self.emission.kl()

    @torch.no_grad()
    def statistics(self, x: Tensor, mask: Tensor, responsibilities: Tensor) -> HDPStatistics:
        """Sufficient statistics of a batch with these responsibilities [J, T, K]."""
        return HDPStatistics(responsibilities.sum(1), self.emission.statistics(x[mask], responsibilities[mask]))

    @torch.no_grad()
    def learn(self, statistics: HDPStatistics, *, rate: float = 1.0, scale: float = 1.0, iterations: int = 3) -> None:
        """Move the shared posteriors by `rate` (1: all the way) to the optimum for the batch counted `scale` times."""
        allowed = torch.ones_like(statistics.counts, dtype=torch.bool)
        best = self.base.refine(statistics.counts, self.alpha, allowed, scale=scale, iterations=iterations)
        self.base.raw = torch.lerp(self.base.raw, best, rate)
        self.emission.absorb(statistics.emission, rate=rate, scale=scale)

    @torch.no_grad()
    def fit(self, x: Tensor, mask: Tensor, seed: int, *, sweeps: int = 100, tolerance: float = 1e-5) -> list[float]:
        """Coordinate ascent from `start`, then merges; returns the ELBOs, which never fall."""
        counts: Tensor | None = self.start(x, mask, seed)
        elbos: list[float] = []
        while counts is not None:
            counts = self._merge(x, mask, self._ascend(x, mask, counts, elbos, sweeps, tolerance), elbos)
        return elbos

    def _ascend(
        self, x: Tensor, mask: Tensor, counts: Tensor, elbos: list[float], sweeps: int, tolerance: float
    ) -> Tensor:
        for sweep in range(sweeps):
            posterior = self.posterior(x, mask, 1, counts)
            counts = posterior.counts
            elbos.append(float(posterior.evidence - self.kl()))
            self.learn(self.statistics(x, mask, posterior.responsibilities))
            if sweep > 0 and elbos[-1] - elbos[-2] < tolerance * abs(elbos[-1]):
                break
        return counts

    def _merge(self, x: Tensor, mask: Tensor, counts: Tensor, elbos: list[float]) -> Tensor | None:
        """Merge one pair of components if that raises the ELBO, the most similar first; the counts after, or None."""
        shares = self.posterior(x, mask, 1, counts).responsibilities
        for kept, gone in merge_candidates(self.emission, x[mask], shares[mask]):
            trial, joined = copy.deepcopy(self), shares.clone()
            joined[..., kept] += joined[..., gone]
            joined[..., gone] = 0
            trial.learn(trial.statistics(x, mask, joined))
            after = trial.posterior(x, mask, 1, joined.sum(1))
            elbo = float(after.evidence - trial.kl())
            if elbo > elbos[-1]:
                self.load_state_dict(trial.state_dict())
                elbos.append(elbo)
                return after.counts
        return None

    @torch.no_grad()
    def weights(self, x: Tensor, mask: Tensor, iterations: int = 20) -> Tensor:
        """Posterior mean of pi_j, [J, K], rows sum to 1."""
        posterior = self.alpha * self.base.mean() + self.posterior(x, mask, iterations).counts
        return posterior / posterior.sum(1, keepdim=True)

    @torch.no_grad()
    def log_likelihood(self, x: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
        """log p of new frames [J, T] of groups with weights [J, K], under the predictive densities: [J]."""
        scores = self.emission.log_predictive(x) + weights.log()[:, None]
        return (scores.logsumexp(-1) * mask).sum(1)
