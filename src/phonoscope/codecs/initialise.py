"""Data-dependent start of a weight-normalised encoder."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

MIN_DEVIATION = 1e-4


def initialise_from_data(encoder: nn.Module, audio: Tensor, deviation: float) -> None:
    """Give every weight-normalised convolution outputs of zero mean and this standard deviation on audio [B, 1, T].

    Salimans and Kingma (arXiv:1602.07868, section 3). With torch's default start the signal shrinks in every layer, the
    latent hardly depends on the audio, and a small codec says silence for its first thousand steps.
    """

    def standardise(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        mean = output.mean(dim=(0, 2))
        scale = deviation / output.std(dim=(0, 2)).clamp(min=MIN_DEVIATION)
        module.weight_g.mul_(scale[:, None, None])
        module.bias.copy_((module.bias - mean) * scale)
        return (output - mean[None, :, None]) * scale[None, :, None]

    layers = [module for module in encoder.modules() if isinstance(module, nn.Conv1d) and hasattr(module, "weight_g")]
    hooks = [layer.register_forward_hook(standardise) for layer in layers]
    try:
        with torch.no_grad():
            encoder(audio)
    finally:
        for hook in hooks:
            hook.remove()
