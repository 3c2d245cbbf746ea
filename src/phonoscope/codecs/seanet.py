"""EnCodec and SpeechTokenizer: the official classes, which share SEANet and an EMA residual vector quantizer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from phonoscope.codecs.base import Codebooks
from phonoscope.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

SMALL_ENCODEC = {
    "sample_rate": 24_000, "n_filters": 8, "dimension": 64, "ratios": [8, 5, 4, 2], "lstm": 1, "n_q": 8, "bins": 1024,
    "true_skip": True,
}  # fmt: skip
"""Our small EnCodec: causal, 24 kHz, 75 Hz, 8 layers of 1024 codes."""

OFFICIAL_ENCODEC = {
    "sample_rate": 24_000, "n_filters": 32, "dimension": 128, "ratios": [8, 5, 4, 2], "lstm": 2, "n_q": 32,
    "bins": 1024, "true_skip": False,
}  # fmt: skip
"""`encodec_model_24khz`, as its package builds it."""

SMALL_SPEECHTOKENIZER = {
    "n_filters": 8, "strides": [8, 5, 4, 2], "dimension": 64, "semantic_dimension": 384, "bidirectional": True,
    "dilation_base": 2, "residual_kernel_size": 3, "n_residual_layers": 1, "lstm_layers": 1, "activation": "ELU",
    "codebook_size": 1024, "n_q": 8, "sample_rate": 16_000,
}  # fmt: skip
"""Our small SpeechTokenizer, in the keys of its official config.json: 16 kHz, 50 Hz, 8 layers of 1024 codes."""

OFFICIAL_SPEECHTOKENIZER = SMALL_SPEECHTOKENIZER | {
    "n_filters": 64, "dimension": 1024, "semantic_dimension": 768, "lstm_layers": 2,
}  # fmt: skip
"""`speechtokenizer_hubert_avg`, as its config.json builds it."""


class SeanetCodec:
    """The adapter over both classes: `model.encoder`, `model.decoder` and `model.quantizer.vq.layers`."""

    def __init__(self, model: Any, architecture: dict[str, Any], n_layers: int | None = None) -> None:
        """Raises `DataError` if more layers are asked for than the model has."""
        self.model: nn.Module = model.eval()
        self._model = model
        layers = self._model.quantizer.vq.layers
        self.n_layers = n_layers or len(layers)
        if self.n_layers > len(layers):
            raise DataError(f"the checkpoint has {len(layers)} RVQ layers, not {self.n_layers}; lower codecs.*.layers")
        self.sample_rate = int(architecture["sample_rate"])
        self.hop_length = math.prod(architecture.get("ratios") or architecture["strides"])
        self.codebook_size = int(architecture.get("bins") or architecture["codebook_size"])
        self._architecture = architecture

    def rvq_layers(self) -> list[Any]:
        """The layers in use, each an official `VectorQuantization`."""
        return list(self._model.quantizer.vq.layers)[: self.n_layers]

    def latent(self, audio: Tensor) -> Tensor:
        return self._model.encoder(audio)

    def quantize(self, latent: Tensor) -> Tensor:
        return self._model.quantizer.vq.encode(latent, n_q=self.n_layers).transpose(0, 1)

    def decode_latent(self, latent: Tensor) -> Tensor:
        return self._model.decoder(latent)

    def decode(self, codes: Tensor) -> Tensor:
        return self.decode_latent(self._model.quantizer.vq.decode(codes.transpose(0, 1)))

    def codebooks(self) -> Codebooks:
        rows = [layer.codebook.detach().clone() for layer in self.rvq_layers()]
        return Codebooks(vectors=rows, raw=rows)

    def architecture(self) -> dict[str, Any]:
        return dict(self._architecture)


def build_encodec(architecture: dict[str, Any], n_layers: int | None = None) -> SeanetCodec:
    """An `encodec.EncodecModel` of this architecture with random weights."""
    from encodec import EncodecModel
    from encodec.modules import SEANetDecoder, SEANetEncoder
    from encodec.quantization import ResidualVectorQuantizer

    shared = {key: architecture[key] for key in ("n_filters", "dimension", "ratios", "lstm", "true_skip")}
    model = EncodecModel(
        SEANetEncoder(channels=1, norm="weight_norm", causal=True, **shared),
        SEANetDecoder(channels=1, norm="weight_norm", causal=True, **shared),
        ResidualVectorQuantizer(architecture["dimension"], architecture["n_q"], architecture["bins"]),
        target_bandwidths=[6.0],
        sample_rate=architecture["sample_rate"],
        channels=1,
    )
    return SeanetCodec(model, architecture, n_layers)


def build_speechtokenizer(architecture: dict[str, Any], n_layers: int | None = None) -> SeanetCodec:
    """A `speechtokenizer.SpeechTokenizer` of this config.json with random weights."""
    from speechtokenizer import SpeechTokenizer

    return SeanetCodec(SpeechTokenizer(architecture), architecture, n_layers)
