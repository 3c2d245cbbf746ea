"""The interface of a codec, whichever package its class comes from, and what the adapters to the packages share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from phonoscope.audio import resample
from phonoscope.errors import DataError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from phonoscope.codecs.rvq import QuantizerTrainer


class CodebookTensors(NamedTuple):
    """The code vectors of every RVQ layer. The two are the same but for DAC, which projects rows of 8 dimensions."""

    vectors: list[Tensor]  # per layer [K, D], as they enter the sum over layers
    raw: list[Tensor]  # per layer [K, d], the rows that are stored


class Codec(Protocol):
    """A neural audio codec with residual vector quantization (RVQ)."""

    model: nn.Module
    sample_rate: int  # of its audio, in Hz
    hop_length: int  # samples per frame
    n_layers: int  # RVQ layers in use
    codebook_size: int  # codes per layer (K)

    def latent(self, audio: Tensor) -> Tensor: ...  # the encoder's output: [B, 1, T] -> [B, D, F]
    def quantize(self, latent: Tensor) -> Tensor: ...  # its codes: [B, D, F] -> [B, L, F], int64
    def decode_latent(self, latent: Tensor) -> Tensor: ...  # audio of a (quantized) latent: [B, D, F] -> [B, 1, T]
    def decode(self, codes: Tensor) -> Tensor: ...  # of the first l layers: [B, l, F] -> [B, 1, F * hop_length or less]
    def codebooks(self) -> CodebookTensors: ...  # of the layers in use
    def architecture(self) -> dict[str, Any]: ...  # arguments that build a model of the same shape; JSON-able


class TrainableCodec(Codec, Protocol):
    """A codec that can be trained here: its encoder is weight-normalised."""

    start_deviation: float  # of every encoder layer's output at the start of training

    def quantizer_trainer(self, decay: float, dead_usage: float) -> QuantizerTrainer: ...


class Adapter:
    """What the adapters share: the shape of the codec, and the quantizer's layers, each of the package's class."""

    def __init__(self, model: Any, layers: list[Any], n_layers: int | None, architecture: dict[str, Any]) -> None:
        """Raises `DataError` if more layers are asked for than the model has."""
        if n_layers is not None and n_layers > len(layers):
            raise DataError(f"the checkpoint has {len(layers)} RVQ layers, not {n_layers}; ask for fewer layers")
        self.model: nn.Module = model.eval()
        self._model, self.rvq_layers, self._architecture = model, layers[:n_layers], architecture
        self.n_layers = len(self.rvq_layers)

    def architecture(self) -> dict[str, Any]:
        return dict(self._architecture)

    def decode_latent(self, latent: Tensor) -> Tensor:
        return self._model.decoder(latent)


class FactorisedAdapter(Adapter):
    """DAC's part: the layers search in few dimensions and project what they find to the latent's."""

    def quantize(self, latent: Tensor) -> Tensor:
        return self._model.quantizer(latent, self.n_layers)[1]

    def decode(self, codes: Tensor) -> Tensor:
        return self.decode_latent(self._model.quantizer.from_codes(codes)[0])

    def codebooks(self) -> CodebookTensors:
        raw = [layer.codebook.weight.detach().clone() for layer in self.rvq_layers]
        return CodebookTensors([project(layer.out_proj, r) for layer, r in zip(self.rvq_layers, raw, strict=True)], raw)


def project(projection: Any, rows: Tensor) -> Tensor:
    """Rows [K, d] through a 1x1 convolution, without gradient: [K, D]."""
    return projection(rows.t()[None])[0].t().detach().contiguous()


class Encoded(NamedTuple):
    """Codes and the latent that they quantize; [L, F] and [D, F], with a leading batch axis for a batch."""

    codes: Tensor  # int64
    latent: Tensor


def frame_rate_hz(codec: Codec) -> float:
    """Frames per second."""
    return codec.sample_rate / codec.hop_length


def bitrate_bps(codec: Codec) -> float:
    """Bits per second of all layers in use; a code takes log2(K) bits."""
    return frame_rate_hz(codec) * codec.n_layers * math.log2(codec.codebook_size)


def encode(codec: Codec, waveform: Any, sample_rate: int) -> Encoded:
    """Codes [L, F] and latent [D, F] of one waveform [T], which is resampled to the codec's rate if need be.

    waveform: mono samples, a NumPy array or a tensor. No gradient. Raises `DataError` if it is not one-dimensional.
    """
    import torch

    samples = np.asarray(waveform, dtype=np.float32)
    if samples.ndim != 1:
        raise DataError(f"a waveform is mono samples [T], not {list(samples.shape)}; average or choose a channel")
    audio = torch.from_numpy(resample(samples, sample_rate, codec.sample_rate))
    with torch.inference_mode():
        codes, latent = encode_batch(codec, audio[None].to(device_of(codec)))
    return Encoded(codes[0], latent[0])


def encode_batch(codec: Codec, audio: Tensor) -> Encoded:
    """Codes [B, L, F] and latent [B, D, F] of clips of equal length [B, T] at the codec's rate; F = T // hop_length.

    Only frames that lie wholly inside the audio are kept: no padding becomes a token.
    """
    latent, frames = codec.latent(audio[:, None]), audio.shape[-1] // codec.hop_length
    return Encoded(codec.quantize(latent)[..., :frames], latent[..., :frames])


def device_of(codec: Codec) -> torch.device:
    """The device of the codec's weights."""
    return next(codec.model.parameters()).device
