"""What a training step minimises: the reconstruction error, alone or nested, and the sparsity penalty, apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from phonoscope.sae.sparse import Pattern, decode

if TYPE_CHECKING:
    from phonoscope.config.sae import SaeConfig
    from phonoscope.sae.models import SparseAutoencoder


class Step(NamedTuple):
    """A batch's losses, and what is counted on it."""

    reconstruction: Tensor
    """Squared error of a frame, the data's total variance being 1; nested: mean over groups."""
    sparsity: Tensor
    """Weighted L1 or L0 penalty; 0 where the activation itself bounds the number of features."""
    error: Tensor
    """Output minus reconstruction by all features, [n, n_outputs]."""
    fired: Tensor
    """Active features, one entry an activation."""
    l0: Tensor
    """Active features a frame."""


class _Rectangle(torch.autograd.Function):
    """JumpReLU (`step` False: z where z > threshold) or the step itself, with rectangle-kernel pseudo-derivatives.

    Rajamanoharan et al. 2024 (2407.14435), equations 11 and 12: d JumpReLU / d threshold = -threshold / bandwidth and
    d step / d threshold = -1 / bandwidth, both within half a bandwidth of the threshold.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, threshold: Tensor, bandwidth: float, step: bool) -> Tensor:
        ctx.save_for_backward(z, threshold)
        ctx.bandwidth, ctx.step = bandwidth, step
        active = (z > threshold).to(z.dtype)
        return active if step else z * active

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        z, threshold = ctx.saved_tensors
        near = ((z - threshold).abs() < ctx.bandwidth / 2).to(z.dtype)
        height = near / ctx.bandwidth
        if ctx.step:
            return None, -grad * height, None, None
        return grad * (z > threshold), -grad * height * threshold, None, None


def jump_relu(z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """z where it exceeds the threshold, else 0; differentiable in both."""
    result: Tensor = _Rectangle.apply(z, threshold, bandwidth, False)
    return result


def heaviside(z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """1 where z exceeds the threshold, else 0; differentiable in the threshold."""
    result: Tensor = _Rectangle.apply(z, threshold, bandwidth, True)
    return result


def losses(model: SparseAutoencoder, x: Tensor, y: Tensor, pattern: Pattern, values: Tensor, config: SaeConfig) -> Step:
    """The losses of a batch x [n, n_inputs], y [n, n_outputs], given its selected pre-activations [entries]."""
    kind, n = model.config.kind, len(x)
    activations, sparsity = values, values.new_zeros(())
    if kind == "jumprelu":
        threshold = model.threshold.clamp(min=0)[pattern.columns]
        activations = jump_relu(values, threshold, config.bandwidth)
        l0 = heaviside(values, threshold, config.bandwidth).sum() / n
        sparsity = config.l0 * (l0 / model.config.k - 1) ** 2
    elif kind == "relu":
        sparsity = config.l1 * (values * model.norms()[pattern.columns]).sum() / n
    errors = _errors(model, x, y, pattern, activations)
    reconstruction = torch.stack([error.pow(2).sum() / n for error in errors]).mean()
    fired = pattern.columns[activations.detach() > 0]
    return Step(reconstruction, sparsity, errors[-1], fired, y.new_tensor(len(fired) / n))


def _errors(model: SparseAutoencoder, x: Tensor, y: Tensor, pattern: Pattern, activations: Tensor) -> list[Tensor]:
    """y minus the reconstruction by each group of the first features (by all, where there are no groups)."""
    rest = y - model.decoder_bias - model.bypass(x)
    errors, start = [], 0
    for end in model.config.groups or (model.width,):
        inside = (pattern.columns >= start) & (pattern.columns < end)
        part = pattern if bool(inside.all()) else pattern.keep(inside)
        rest = rest - decode(part, activations if part is pattern else activations[inside], model.decoder)
        errors.append(rest)
        start = end
    return errors
