"""The sequence models as layers of a network: features of an utterance for its classifier, and a step of learning.

Nothing here is trained by the network's optimizer. Like an EMA codebook, a layer learns from each batch by a stochastic
variational step with a constant rate, since the encoder before it moves (Hoffman et al. 2013, JMLR 14).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from phonoscope.config.vq import SequenceConfig
from phonoscope.studies.collapse.emissions import Categorical, DiagonalGaussian, Emission
from phonoscope.studies.collapse.hdp import HDP, HDPPosterior
from phonoscope.studies.collapse.hdp_hsmm import HDPHSMM
from phonoscope.studies.collapse.hsmm import HSMM, HSMMStatistics

SequenceKind = Literal["hdp", "hsmm", "hdp_hsmm"]


@dataclass(frozen=True)
class SequenceOutput:
    """One pass of a batch through a layer."""

    features: Tensor
    """[B, width] float32 in [0, 1], differentiable in vectors, constant in codes; none grows with the length."""
    evidence: Tensor
    """The batch's part of the evidence lower bound (ELBO), scalar, detached."""
    found: HDPPosterior | HSMMStatistics
    """What `learn` needs."""


class SequenceLayer(nn.Module, ABC):
    """Frames in, features out. A forward pass changes no state, whatever the mode; only `start` and `learn` do.

    Frames are codes [B, T] int64 or vectors [B, T, D], with a mask [B, T] of leading real frames, one at least; what
    stands at padding does not count.
    """

    width: int

    def __init__(self, config: SequenceConfig, seed: int) -> None:
        super().__init__()
        self.config, self.seed = config, seed

    @abstractmethod
    def start(self, x: Tensor, mask: Tensor) -> None:
        """Set the model from one batch, before the first forward pass."""

    @abstractmethod
    def forward(self, x: Tensor, mask: Tensor) -> SequenceOutput: ...

    @abstractmethod
    def learn(self, x: Tensor, mask: Tensor, out: SequenceOutput, *, utterances: int) -> None:
        """One stochastic step from the batch that gave `out`, of a corpus of so many utterances."""

    @torch.no_grad()
    def elbo(self, mask: Tensor, out: SequenceOutput, *, utterances: int) -> float:
        """The ELBO per frame of the batch that gave `out`, in nats, with its share of the corpus's KL terms."""
        return float((out.evidence - self._kl() * len(mask) / utterances) / mask.sum())

    @abstractmethod
    def shares(self) -> Tensor:
        """Share of all frames learnt from in each component or state, [K], sums to 1."""

    @abstractmethod
    def _kl(self) -> Tensor: ...


def _blank(x: Tensor, mask: Tensor) -> Tensor:
    """Frames with zeros at padding."""
    return torch.where(mask if x.ndim == 2 else mask[..., None], x, torch.zeros_like(x))


class HDPLayer(SequenceLayer):
    """Features: the expected share of an utterance's frames in each component, K values that sum to 1.

    (The posterior mean of pi_j would tell the utterance's length: it is nearer to the base measure in a short one.)
    """

    def __init__(self, emission: Emission, config: SequenceConfig, seed: int) -> None:
        super().__init__(config, seed)
        self.model = HDP(emission, alpha=config.alpha, gamma=config.gamma)
        self.width = emission.components

    @torch.no_grad()
    def start(self, x: Tensor, mask: Tensor) -> None:
        self.model.start(_blank(x, mask), mask, self.seed)

    def forward(self, x: Tensor, mask: Tensor) -> SequenceOutput:
        found = self.model.posterior(_blank(x, mask), mask, self.config.local_iterations)
        shares = found.counts / found.counts.sum(1, keepdim=True)
        return SequenceOutput(shares.float(), found.evidence.detach(), HDPPosterior(*(v.detach() for v in found)))

    @torch.no_grad()
    def learn(self, x: Tensor, mask: Tensor, out: SequenceOutput, *, utterances: int) -> None:
        assert isinstance(out.found, HDPPosterior)
        scale = utterances / len(mask)
        self.model.learn(x, mask, out.found, rate=self.config.rate, scale=scale, iterations=1)

    def shares(self) -> Tensor:
        return self.model.emission.shares()

    def _kl(self) -> Tensor:
        return self.model.kl()


class HSMMLayer(SequenceLayer):
    """Features, of S states each: the expected share of frames, which sum to 1, and the mean duration over Dmax.

    The mean duration is over the utterance's segments of the state and one more of the state's usual duration.
    """

    def __init__(self, model: HSMM, config: SequenceConfig, seed: int) -> None:
        super().__init__(config, seed)
        self.model = model
        self.width = 2 * config.states

    @torch.no_grad()
    def start(self, x: Tensor, mask: Tensor) -> None:
        self.model.start(_blank(x, mask), mask, self.seed)

    def forward(self, x: Tensor, mask: Tensor) -> SequenceOutput:
        x = _blank(x, mask)
        found = self.model.expectations(x, mask, differentiable=x.requires_grad and torch.is_grad_enabled())
        d_max = self.config.d_max
        usual = (self.model.mean_parameters().durations.exp() * torch.arange(1, d_max + 1)).sum(1)
        frames, segments = found.occupancy.sum(1), found.durations.sum(2)
        shares, lasting = frames / mask.sum(1, keepdim=True), (frames + usual) / (segments + 1) / d_max
        statistics = self.model.statistics(x, mask, found)
        return SequenceOutput(torch.cat([shares, lasting], 1).float(), found.log_likelihood.sum().detach(), statistics)

    @torch.no_grad()
    def learn(self, x: Tensor, mask: Tensor, out: SequenceOutput, *, utterances: int) -> None:
        assert isinstance(out.found, HSMMStatistics)
        self.model.learn(out.found, rate=self.config.rate, scale=utterances / len(mask), iterations=1)

    def shares(self) -> Tensor:
        return self.model.emission.shares()

    def _kl(self) -> Tensor:
        return self.model.kl()


def build_sequence(
    kind: SequenceKind, *, codes: int | None = None, dim: int | None = None, seed: int, config: SequenceConfig
) -> SequenceLayer:
    """The layer of a kind, over `codes` values of a codebook or over vectors of `dim` values (give one of the two)."""
    components = config.components if kind == "hdp" else config.states
    if (codes is None) == (dim is None):
        raise ValueError("give either codes or dim")
    emission = DiagonalGaussian(components, dim) if dim else Categorical(components, codes or 0)
    if kind == "hdp":
        return HDPLayer(emission, config, seed)
    if kind == "hsmm":
        return HSMMLayer(HSMM(emission, config.d_max, alpha=config.alpha), config, seed)
    return HSMMLayer(HDPHSMM(emission, config.d_max, alpha=config.alpha, gamma=config.gamma), config, seed)
