"""Base measures shared by the groups of an HDP, and the Dirichlet algebra of the groups.

Rows pi_j ~ Dir(alpha beta) may exclude entries (a segment's state is never followed by itself): a Dirichlet without one
of its entries, renormalised, is a Dirichlet over the others, so excluded entries simply drop out.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Beta, Dirichlet, kl_divergence

LOG_ZERO = -1e30  # log of an impossible event; finite, so that the gradient of an impossible branch is 0, not NaN


def expected_log(concentrations: Tensor, allowed: Tensor) -> Tensor:
    """E[log pi] of Dirichlet rows [..., K] over their allowed entries; `LOG_ZERO` at the others."""
    total = torch.where(allowed, concentrations, 0.0).sum(-1, keepdim=True)
    return torch.where(allowed, torch.digamma(concentrations) - torch.digamma(total), LOG_ZERO)


def log_normaliser(concentrations: Tensor, allowed: Tensor) -> Tensor:
    """Log of the constant of Dirichlet rows [..., K], ln G(sum) - sum ln G, over their allowed entries: [...]."""
    kept = torch.where(allowed, concentrations, 0.0)
    return torch.lgamma(kept.sum(-1)) - torch.where(allowed, torch.lgamma(concentrations), 0.0).sum(-1)


class BaseMeasure(nn.Module):
    """A distribution q(beta) over the weights of K components; in this class all its mass is on equal weights."""

    raw: Tensor

    def __init__(self, components: int) -> None:
        super().__init__()
        self.components = components
        self.register_buffer("raw", torch.zeros(0, dtype=torch.float64))

    def mean(self) -> Tensor:
        """E[beta], [K], sums to 1."""
        return self.raw.new_full((self.components,), 1 / self.components)

    def log_normaliser(self, alpha: float, allowed: Tensor) -> Tensor:
        """E[log of the constant of Dir(alpha beta)] for every row of `allowed` [J, K], or a lower bound on it: [J]."""
        return log_normaliser((alpha * self.mean()).expand(allowed.shape), allowed)

    def kl(self) -> Tensor:
        """KL(q(beta) || p(beta)), scalar."""
        return self.raw.new_zeros(())

    def row_evidence(self, counts: Tensor, alpha: float, allowed: Tensor) -> Tensor:
        """E[log p(z_j | pi_j)] - KL(q(pi_j) || Dir(alpha beta)) under the best q(pi_j) = Dir(alpha E[beta] + counts).

        `counts` [J, K]: expected counts of each row. The sum over rows minus `kl()` is the base measure's part of the
        ELBO; it is a lower bound where `log_normaliser` is one.
        """
        # E[log pi] has the factors counts + (alpha E[beta] - 1) - (posterior - 1) = 0: only the constants are left
        posterior = alpha * self.mean() + counts
        return self.log_normaliser(alpha, allowed) - log_normaliser(posterior, allowed)

    def refine(self, counts: Tensor, alpha: float, allowed: Tensor, *, scale: float, iterations: int) -> Tensor:
        """Parameters that maximise `scale * row_evidence - kl`, after some L-BFGS iterations; they are not set."""
        return self.raw


class _Learned(BaseMeasure, ABC):
    """A base measure with a posterior; its parameters `raw` are logs of positive numbers.

    The expected constant of Dir(alpha beta) has no closed form; the bound of Hughes, Kim and Sudderth (2015,
    AISTATS, eq. 13) does. With x_k = alpha beta_k, -ln G(x) = ln x - ln G(1 + x), and ln G(1 + x) is convex and 0 at 0,
    hence superadditive: ln G(sum x) - sum ln G(x_k) >= sum ln x_k - ln(sum x).
    """

    @abstractmethod
    def mean_log(self) -> Tensor:
        """E[log beta], [K]."""

    def log_normaliser(self, alpha: float, allowed: Tensor) -> Tensor:
        logs = self.mean_log() + torch.tensor(alpha, dtype=torch.float64).log()
        # -E[ln(sum x)] >= -ln E[sum x] by Jensen's inequality, which leaves a lower bound
        total = torch.where(allowed, alpha * self.mean(), 0.0).sum(-1)
        return torch.where(allowed, logs, 0.0).sum(-1) - total.log()

    def refine(self, counts: Tensor, alpha: float, allowed: Tensor, *, scale: float, iterations: int) -> Tensor:
        kept, free = self.raw, self.raw.clone().requires_grad_()
        optimizer = torch.optim.LBFGS([free], max_iter=iterations, line_search_fn="strong_wolfe")

        def negative_elbo() -> Tensor:
            return self.kl() - scale * self.row_evidence(counts, alpha, allowed).sum()

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = negative_elbo()
            value.backward()
            return value

        self.raw = free
        before = optimizer.step(loss)
        self.raw = free.detach()
        # L-BFGS may overshoot: the ELBO must never fall
        improved = bool(negative_elbo() < before)
        self.raw = kept
        return free.detach() if improved else kept


class StickBreaking(_Learned):
    """beta ~ GEM(gamma), truncated: v_k ~ Beta(1, gamma), beta_k = v_k prod_{l<k} (1 - v_l), v_K = 1 (Sethuraman 1994).

    q(v) is a product of Beta distributions (Blei and Jordan 2006).
    """

    def __init__(self, components: int, gamma: float) -> None:
        super().__init__(components)
        remaining = torch.arange(components - 1, 0, -1, dtype=torch.float64)
        self.gamma = gamma
        self.raw = torch.stack([torch.ones_like(remaining), remaining]).log()  # so that E[beta] is uniform at first

    def _sticks(self) -> Beta:
        first, second = self.raw.exp()
        return Beta(first, second, validate_args=False)

    def mean(self) -> Tensor:
        return stick_weights(self._sticks().mean)

    def mean_log(self) -> Tensor:
        # E[log beta_k] = E[log v_k] + sum_{l<k} E[log(1 - v_l)], each a difference of digammas
        first, second = self.raw.exp()
        both = torch.digamma(first + second)
        broken, left = torch.digamma(first) - both, (torch.digamma(second) - both).cumsum(0)
        zero = left.new_zeros(1)
        return torch.cat([broken, zero]) + torch.cat([zero, left])

    def kl(self) -> Tensor:
        prior = Beta(torch.ones_like(self.raw[0]), torch.full_like(self.raw[0], self.gamma), validate_args=False)
        return kl_divergence(self._sticks(), prior).sum()


class WeakLimit(_Learned):
    """beta ~ Dir(gamma / K, ..., gamma / K), GEM(gamma)'s limit as K grows (Ishwaran and Zarepour 2002)."""

    def __init__(self, components: int, gamma: float) -> None:
        super().__init__(components)
        self.gamma = gamma
        self.raw = torch.zeros(components, dtype=torch.float64)

    def mean(self) -> Tensor:
        return self.raw.softmax(0)  # raw holds the logs of the Dirichlet's parameters

    def mean_log(self) -> Tensor:
        return torch.digamma(self.raw.exp()) - torch.digamma(self.raw.exp().sum())

    def kl(self) -> Tensor:
        prior = torch.full_like(self.raw, self.gamma / self.components)
        return kl_divergence(Dirichlet(self.raw.exp(), validate_args=False), Dirichlet(prior, validate_args=False))


def stick_weights(sticks: Tensor) -> Tensor:
    """Weights [..., K] of broken sticks v [..., K - 1]: v_k prod_{l<k} (1 - v_l), the last one takes the rest."""
    one = torch.ones_like(sticks[..., :1])
    left = torch.cat([one, (1 - sticks).cumprod(-1)], -1)
    return torch.cat([sticks, one], -1) * left
