"""The start of a codec with random weights: encoder layers scaled by data, codebooks from k-means of latents.

A codec in this state is the untrained control of the probes, and the point from which a new codec is trained.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from phonoscope.codecs.base import TrainableCodec, device_of
from phonoscope.codecs.clips import Clips

MIN_DEVIATION = 1e-4
SCALING_BATCHES = 4  # of clips, that set the scale of the encoder's layers
START_VECTORS = 24_000  # latents that the k-means start of the codebooks sees


def scale_encoder(codec: TrainableCodec, clips: Clips) -> None:
    """Scale every layer of the encoder by the first batches of the clips."""
    audio = torch.cat([clips.draw(step)[0] for step in range(SCALING_BATCHES)]).to(device_of(codec))
    initialise_from_data(codec.model.encoder, audio[:, None], codec.start_deviation)  # type: ignore[arg-type]


def start_codebooks(codec: TrainableCodec, latents: Tensor, seed: int) -> None:
    """Set the codebooks of all layers by k-means of latents [N, D], each layer from the residual of those before."""
    with torch.no_grad():
        # decay and dead-code threshold matter to training only
        codec.quantizer_trainer(decay=0.0, dead_usage=0.0).start(latents, seed)


def latents_of(codec: TrainableCodec, clips: Clips, first_step: int = 0) -> Tensor:
    """About `START_VECTORS` latents [N, D] of the clips that training draws from `first_step` on."""
    codec.model.eval()
    batches = max(1, START_VECTORS // (clips.clip_frames * clips.batch_size))
    parts = []
    with torch.no_grad():
        for step in range(first_step, first_step + batches):
            audio = clips.draw(step)[0].to(device_of(codec))
            parts.append(codec.latent(audio[:, None]).transpose(1, 2).flatten(0, 1))
    return torch.cat(parts)


def initialise_from_data(encoder: nn.Module, audio: Tensor, deviation: float) -> None:
    """Give every weight-normalised convolution outputs of zero mean and this standard deviation on audio [B, 1, T].

    Salimans and Kingma (arXiv:1602.07868, section 3). With torch's default start the signal shrinks in every layer, the
    latent hardly depends on the audio, and a small codec decodes silence for its first thousand steps.
    """

    def standardise(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        mean = output.mean(dim=(0, 2))
        # a channel that is constant on these clips would blow up any difference on others
        scale = deviation / output.std(dim=(0, 2)).clamp(min=MIN_DEVIATION)
        module.weight_g.mul_(scale[:, None, None])
        module.bias.copy_((module.bias - mean) * scale)
        # the layers behind this one see the standardised output, so one pass suffices for all
        return (output - mean[None, :, None]) * scale[None, :, None]

    layers = [module for module in encoder.modules() if isinstance(module, nn.Conv1d) and hasattr(module, "weight_g")]
    hooks = [layer.register_forward_hook(standardise) for layer in layers]
    with torch.no_grad():
        encoder(audio)
    for hook in hooks:
        hook.remove()
