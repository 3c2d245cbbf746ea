"""JumpReLU with a trained threshold and an L0 penalty: Rajamanoharan et al. 2024 (2407.14435)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from pydantic import Field
from torch import Tensor

from phonoscope.sae.kinds.base import Kind, register
from phonoscope.sae.sparse import Pattern, above

if TYPE_CHECKING:
    from phonoscope.sae.models import SparseAutoencoder


class _Rectangle(torch.autograd.Function):
    """JumpReLU (`step` False: z where z > threshold) or the step itself, with rectangle-kernel pseudo-derivatives.

    Equations 11 and 12: d JumpReLU / d threshold = -threshold / bandwidth and d step / d threshold = -1 / bandwidth,
    both within half a bandwidth of the threshold.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float, step: bool) -> Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth, ctx.step = bandwidth, step
        active = (z > threshold).to(z.dtype)
        return active if step else z * active

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # both functions are constant in the threshold almost everywhere, with a jump where z meets it: the rectangle
        # estimates the derivative of their mean over frames from the frames near the jump
        z, threshold = ctx.saved_tensors
        height = ((z - threshold).abs() < ctx.bandwidth / 2).to(z.dtype) / ctx.bandwidth
        if ctx.step:  # z gets no gradient: the penalty moves thresholds, it does not shrink activations
            return None, -grad * height, None, None
        return grad * (z > threshold), -grad * height * threshold, None, None


def jump_relu(z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """z where it exceeds the threshold, else 0; differentiable in both."""
    return _Rectangle.apply(z, threshold, bandwidth, False)


def heaviside(z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """1 where z exceeds the threshold, else 0; differentiable in the threshold."""
    return _Rectangle.apply(z, threshold, bandwidth, True)


@register("jumprelu")
class JumpRelu(Kind):
    """Features above their trained threshold are active; the penalty is l0 * (L0 / k - 1)^2."""

    learns_threshold = True
    l0: float = Field(default=1.0, ge=0)  # weight of the penalty
    bandwidth: float = Field(default=0.05, gt=0)  # width of the rectangle that replaces the threshold's derivative

    def start(self, model: SparseAutoencoder, batches: Iterable[Tensor]) -> None:
        model.calibrate(batches)

    def select(self, model: SparseAutoencoder, scores: Tensor) -> Pattern:
        # half a bandwidth below the threshold its derivative does not vanish, so these entries take part
        return above(scores, model.threshold.detach().clamp(min=0) - self.bandwidth / 2)

    def activate(self, model: SparseAutoencoder, pattern: Pattern, values: Tensor) -> tuple[Tensor, Tensor]:
        threshold = model.threshold.clamp(min=0)[pattern.columns]
        l0 = heaviside(values, threshold, self.bandwidth).sum() / pattern.n
        # relative to k and squared: the same weight steers any k to its L0 from both sides
        return jump_relu(values, threshold, self.bandwidth), self.l0 * (l0 / model.shape.k - 1) ** 2

    def finish(self, model: SparseAutoencoder, batches: Iterable[Tensor]) -> None:
        model.threshold.clamp_(min=0)  # as in training and in `active`, so that the files say what is used
