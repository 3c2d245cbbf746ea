"""Emission distributions of mixture components and states, with conjugate posteriors of all K at once.

The data of a component are kept as sufficient statistics; a posterior is the prior's natural parameters plus these
(Hoffman et al. 2013, JMLR 14). So a batch may replace them (a full sweep) or move them a little (a stochastic step).
"""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Dirichlet, Gamma, StudentT, kl_divergence

Statistics = tuple[Tensor, ...]


class Emission(nn.Module, ABC):
    """p(x | component k) with a posterior over its parameters. Everything is float64."""

    names: tuple[str, ...]  # buffers of the statistics, each [K, ...]
    counts: Tensor  # frames of each component, [K, ...]; for codes, the last axis is the code

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components

    def centre(self, x: Tensor) -> None:
        """Set the prior from data: frames [N, ...]."""

    @abstractmethod
    def expected_log_likelihood(self, x: Tensor) -> Tensor:
        """E[log p(x | k)] under the posterior of component k's parameters: frames [...] give [..., K]."""

    @abstractmethod
    def log_predictive(self, x: Tensor) -> Tensor:
        """log E[p(x | k)], the density of one new frame: frames [...] give [..., K]."""

    @abstractmethod
    def statistics(self, x: Tensor, weights: Tensor) -> Statistics:
        """Sufficient statistics of frames [N, ...] under weights [N, K]."""

    @abstractmethod
    def kl(self) -> Tensor:
        """KL(posterior || prior), summed over components."""

    def shares(self) -> Tensor:
        """Share of all frames in each component, [K], sums to 1."""
        return self.counts.sum(1) / self.counts.sum()

    def absorb(self, statistics: Statistics, *, rate: float = 1.0, scale: float = 1.0) -> None:
        """Move the statistics towards `scale` times the new ones by `rate`; rate 1 replaces them."""
        for name, new in zip(self.names, statistics, strict=True):
            setattr(self, name, torch.lerp(getattr(self, name), scale * new, rate))


class Categorical(Emission):
    """Codes 0..V-1 with a symmetric Dirichlet prior on each component's probabilities."""

    names = ("counts",)

    def __init__(self, components: int, codes: int, concentration: float = 0.1) -> None:
        super().__init__(components)
        self.codes, self.concentration = codes, concentration
        self.register_buffer("counts", torch.zeros(components, codes, dtype=torch.float64))

    def expected_log_likelihood(self, x: Tensor) -> Tensor:
        posterior = self.concentration + self.counts
        return (posterior.digamma() - posterior.sum(1, keepdim=True).digamma()).T[x]

    def log_predictive(self, x: Tensor) -> Tensor:
        posterior = self.concentration + self.counts
        return (posterior / posterior.sum(1, keepdim=True)).log().T[x]

    def statistics(self, x: Tensor, weights: Tensor) -> Statistics:
        return (weights.new_zeros(self.codes, self.components).index_add_(0, x, weights).T,)

    def kl(self) -> Tensor:
        posterior = Dirichlet(self.concentration + self.counts, validate_args=False)
        prior = Dirichlet(torch.full_like(self.counts, self.concentration), validate_args=False)
        return kl_divergence(posterior, prior).sum()


class DiagonalGaussian(Emission):
    """Vectors [D] with independent normal-gamma priors on each component's means and precisions (Murphy 2007, sec. 3).

    The prior is centred on the data, expects a share `spread` of their variance in a component, and weighs two frames.
    """

    sums: Tensor  # of x - middle, [K, D]
    squares: Tensor
    middle: Tensor
    rate: Tensor
    names = ("counts", "sums", "squares")
    mean_weight = 0.01
    shape = 1.0
    spread = 0.1

    def __init__(self, components: int, dim: int) -> None:
        super().__init__(components)
        self.register_buffer("counts", torch.zeros(components, 1, dtype=torch.float64))
        for name in ("sums", "squares"):
            self.register_buffer(name, torch.zeros(components, dim, dtype=torch.float64))
        self.register_buffer("middle", torch.zeros(dim, dtype=torch.float64))
        self.register_buffer("rate", torch.full((dim,), self.shape * self.spread, dtype=torch.float64))

    def centre(self, x: Tensor) -> None:
        self.middle = x.double().mean(0)
        self.rate = self.shape * self.spread * x.double().var(0, correction=0).clamp_min(1e-6)

    def _posterior(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(weight of the mean [K, 1], mean less `middle` [K, D], shape [K, 1], rate [K, D])."""
        weight = self.mean_weight + self.counts
        mean = self.sums / weight
        # sums of squares about `middle`, not 0: far from the origin their difference would cancel
        scatter = (self.squares - weight * mean**2).clamp_min(0.0)
        return weight, mean, self.shape + self.counts / 2, self.rate + scatter / 2

    def _squared_distances(self, x: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
        # expanded into products of matrices, so that no [..., K, D] array is built
        x = x.double() - self.middle
        return (x**2) @ precision.T - 2 * x @ (precision * mean).T + (precision * mean**2).sum(1)

    def expected_log_likelihood(self, x: Tensor) -> Tensor:
        weight, mean, shape, rate = self._posterior()
        # E[log N(x | mu, lambda)] = (E[log lambda] - log 2 pi - 1 / weight - E[lambda] (x - mean)^2) / 2, per dimension
        constant = (shape.digamma() - rate.log() - math.log(2 * math.pi) - 1 / weight).sum(1)
        return (constant - self._squared_distances(x, mean, shape / rate)) / 2

    def log_predictive(self, x: Tensor) -> Tensor:
        weight, mean, shape, rate = self._posterior()
        # with mean and precision integrated out, Student's t with 2 shape degrees of freedom (Murphy 2007, sec. 3)
        scale = (rate * (weight + 1) / (shape * weight)).sqrt()
        student = StudentT((2 * shape).expand_as(mean), mean, scale, validate_args=False)
        return student.log_prob((x.double() - self.middle)[..., None, :]).sum(-1)

    def statistics(self, x: Tensor, weights: Tensor) -> Statistics:
        x = x.double() - self.middle
        return weights.sum(0)[:, None], weights.T @ x, weights.T @ x**2

    def kl(self) -> Tensor:
        weight, mean, shape, rate = self._posterior()
        # KL of N(mean, 1 / (weight lambda)) from N(0, 1 / (mean_weight lambda)), with E[lambda] = shape / rate
        ratio = self.mean_weight / weight
        means = (self.mean_weight * shape / rate * mean**2 + ratio - 1 - ratio.log()) / 2
        posterior = Gamma(shape.expand_as(rate), rate, validate_args=False)
        prior = Gamma(torch.full_like(rate, self.shape), self.rate.expand_as(rate), validate_args=False)
        return (means + kl_divergence(posterior, prior)).sum()
