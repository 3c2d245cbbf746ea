"""The sequence models as layers of a network: features of an utterance for the classifier, and a learning step.

The network's optimizer trains nothing here. Like an EMA codebook, a layer learns from each batch by a stochastic
variational step (Hoffman et al. 2013, JMLR 14), with a constant rate because the encoder before it changes.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from phonoscope.config.vq import SequenceConfig
from phonoscope.studies.collapse.emissions import Categorical, DiagonalGaussian
from phonoscope.studies.collapse.hdp import HDP, HDPStatistics
from phonoscope.studies.collapse.hsmm import HDPHSMM, HSMM, HSMMStatistics

SequenceKind = Literal["hdp", "hsmm", "hdp_hsmm"]


@dataclass(frozen=True)
class SequenceOutput:
    """One pass of a batch through a layer."""

    features: Tensor  # [B, width] float32 in [0, 1], differentiable in vectors, constant in codes
    evidence: Tensor  # the batch's part of the evidence lower bound (ELBO), scalar, detached
    frames: Tensor  # number of real frames in the batch
    statistics: HDPStatistics | HSMMStatistics  # what the layer learns from


class SequenceLayer(nn.Module):
    """Frames in, features out. A forward pass changes no state in any mode; only `start` and `learn` do.

    Frames are codes [B, T] int64 or vectors [B, T, D], with a mask [B, T] of leading real frames, at least one.
    """

    def __init__(self, model: HDP | HSMM, width: int, config: SequenceConfig, seed: int) -> None:
        super().__init__()
        self.model: Any = model
        self.width, self.config, self.seed = width, config, seed

    @torch.no_grad()
    def start(self, x: Tensor, mask: Tensor) -> None:
        """Set the model from one batch, before the first forward pass."""
        self.model.start(x, mask, self.seed)

    @torch.no_grad()
    def elbo(self, out: SequenceOutput, *, utterances: int) -> float:
        """ELBO per frame of the batch that gave `out`, in nats, with the batch's share of the corpus's KL terms."""
        return float((out.evidence - self.model.kl() * len(out.features) / utterances) / out.frames)

    @torch.no_grad()
    def learn(self, out: SequenceOutput, *, utterances: int) -> None:
        """One stochastic step from the batch that gave `out`, of a corpus with this many utterances."""
        # counted as often as the corpus is larger, a batch's statistics estimate those of the corpus without bias
        scale = utterances / len(out.features)
        self.model.learn(out.statistics, rate=self.config.rate, scale=scale, iterations=1)


class HDPLayer(SequenceLayer):
    """Features: the expected share of an utterance's frames in each component, K values that sum to 1.

    The posterior mean of pi_j would depend on the utterance's length: in a short one it is nearer to the base measure.
    """

    def forward(self, x: Tensor, mask: Tensor) -> SequenceOutput:
        posterior = self.model.posterior(x, mask, self.config.local_iterations)
        shares = posterior.counts / posterior.counts.sum(1, keepdim=True)
        statistics = self.model.statistics(x, mask, posterior.responsibilities)
        return SequenceOutput(shares.float(), posterior.evidence.detach(), mask.sum(), statistics)


class HSMMLayer(SequenceLayer):
    """Features of each of S states: the expected share of frames (sums to 1), and the mean duration as a share of Dmax.

    The mean is over the utterance's segments of the state and one more segment of the state's usual duration.
    """

    def forward(self, x: Tensor, mask: Tensor) -> SequenceOutput:
        # the features are gradients of the recursion already: to pass one on, it is differentiated twice
        expected = self.model.expectations(x, mask, differentiable=x.requires_grad and torch.is_grad_enabled())
        d_max = self.config.d_max
        usual = (self.model.mean_parameters().durations.exp() * torch.arange(1, d_max + 1)).sum(1)
        frames, segments = expected.occupancy.sum(1), expected.durations.sum(2)
        # the one more segment keeps the mean defined for a state that does not occur
        shares, lasting = frames / mask.sum(1, keepdim=True), (frames + usual) / (segments + 1) / d_max
        features = torch.cat([shares, lasting], 1).float()
        statistics = self.model.statistics(x, mask, expected)
        return SequenceOutput(features, expected.log_likelihood.sum().detach(), mask.sum(), statistics)


def build_sequence(
    kind: SequenceKind, *, codes: int = 0, dim: int = 0, seed: int, config: SequenceConfig
) -> SequenceLayer:
    """A layer over codes of a codebook of size `codes`, or else over vectors of `dim` dimensions."""
    components = config.components if kind == "hdp" else config.states
    emission = Categorical(components, codes) if codes else DiagonalGaussian(components, dim)
    if kind == "hdp":
        return HDPLayer(HDP(emission, alpha=config.alpha, gamma=config.gamma), components, config, seed)
    if kind == "hsmm":
        model = HSMM(emission, config.d_max, alpha=config.alpha)
    else:
        model = HDPHSMM(emission, config.d_max, alpha=config.alpha, gamma=config.gamma)
    return HSMMLayer(model, 2 * components, config, seed)
