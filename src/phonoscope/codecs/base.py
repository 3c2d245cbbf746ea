"""What every codec offers, whichever package its class comes from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class Codebooks:
    """The code vectors of every RVQ layer.

    vectors: per layer [K, D], as they enter the sum over layers. raw: per layer [K, d], the rows that are stored. They
    are the same for EnCodec and SpeechTokenizer; DAC's raw rows have 8 dimensions and are projected to D.
    """

    vectors: list[Tensor]
    raw: list[Tensor]


class Codec(Protocol):
    """A neural audio codec with residual vector quantization (RVQ)."""

    model: nn.Module
    sample_rate: int
    """Hz of the audio it takes."""
    hop_length: int
    """Samples of one frame."""
    n_layers: int
    """RVQ layers in use."""
    codebook_size: int
    """Codes of one layer (K)."""

    def latent(self, audio: Tensor) -> Tensor:
        """The encoder's output before quantization: [B, 1, T] -> [B, D, F]."""

    def quantize(self, latent: Tensor) -> Tensor:
        """Codes of a latent: [B, D, F] -> [B, L, F], int64."""

    def decode_latent(self, latent: Tensor) -> Tensor:
        """Audio of a (quantized) latent: [B, D, F] -> [B, 1, T]."""

    def decode(self, codes: Tensor) -> Tensor:
        """Audio of the codes of the first l layers: [B, l, F] -> [B, 1, F * hop_length], DAC's a little shorter."""

    def codebooks(self) -> Codebooks:
        """The code vectors of every layer in use."""

    def architecture(self) -> dict[str, Any]:
        """What its class is built from again: JSON-able."""


def frame_rate_hz(codec: Codec) -> float:
    """Frames a second."""
    return codec.sample_rate / codec.hop_length


def bitrate_bps(codec: Codec) -> float:
    """Bits a second of all layers in use, each code taking log2(K) bits."""
    import math

    return frame_rate_hz(codec) * codec.n_layers * math.log2(codec.codebook_size)


def encode(codec: Codec, audio: Tensor) -> Tensor:
    """Codes of one or more equally long clips: [B, T] -> [B, L, T // hop_length], int64.

    Only frames that lie wholly inside the audio are kept: no padding ever becomes a token.
    """
    return encode_with_latent(codec, audio)[0]


def encode_with_latent(codec: Codec, audio: Tensor) -> tuple[Tensor, Tensor]:
    """As `encode`, with the continuous latent [B, D, T // hop_length] that the codes quantize."""
    latent, frames = codec.latent(audio[:, None]), audio.shape[-1] // codec.hop_length
    return codec.quantize(latent)[..., :frames], latent[..., :frames]


def device_of(codec: Codec) -> torch.device:
    """The device that the codec's weights are on."""
    return next(codec.model.parameters()).device
