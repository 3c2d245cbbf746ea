"""EnCodec (Defossez et al., arXiv:2210.13438): the class of the package `encodec`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonoscope.codecs.base import Adapter, CodebookTensors
from phonoscope.codecs.checkpoints import load_strict
from phonoscope.codecs.registry import CodecKind
from phonoscope.files import read_torch

if TYPE_CHECKING:
    from torch import Tensor

    from phonoscope.codecs.rvq import EmaRvqTrainer

# the small EnCodec: causal, 24 kHz, 75 Hz, 8 layers of 1024 codes
SMALL = {
    "sample_rate": 24_000, "n_filters": 8, "dimension": 64, "ratios": [8, 5, 4, 2], "lstm": 1, "n_q": 8, "bins": 1024,
    "true_skip": True,
}  # fmt: skip
# `encodec_model_24khz`, as its package builds it
OFFICIAL = {
    "sample_rate": 24_000, "n_filters": 32, "dimension": 128, "ratios": [8, 5, 4, 2], "lstm": 2, "n_q": 32,
    "bins": 1024, "true_skip": False,
}  # fmt: skip


class SeanetCodec(Adapter):
    """The adapter for EnCodec and SpeechTokenizer, which share SEANet and a residual quantizer with EMA codebooks."""

    start_deviation = 1.0

    def __init__(self, model: Any, architecture: dict[str, Any], n_layers: int | None = None) -> None:
        super().__init__(model, list(model.quantizer.vq.layers), n_layers, architecture)
        self.sample_rate = int(architecture["sample_rate"])
        self.hop_length = math.prod(architecture.get("ratios") or architecture["strides"])
        self.codebook_size = int(architecture.get("bins") or architecture["codebook_size"])

    def quantizer_trainer(self, decay: float, dead_usage: float) -> EmaRvqTrainer:
        from phonoscope.codecs.rvq import EmaRvqTrainer

        return EmaRvqTrainer(self.rvq_layers, decay, dead_usage)

    def latent(self, audio: Tensor) -> Tensor:
        return self._model.encoder(audio)

    def quantize(self, latent: Tensor) -> Tensor:
        return self._model.quantizer.vq.encode(latent, n_q=self.n_layers).transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        return self.decode_latent(self._model.quantizer.vq.decode(codes.transpose(0, 1)))

    def codebooks(self) -> CodebookTensors:
        rows = [layer.codebook.detach().clone() for layer in self.rvq_layers]
        return CodebookTensors(vectors=rows, raw=rows)


def build(architecture: dict[str, Any], n_layers: int | None = None) -> SeanetCodec:
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


def load(checkpoint: str, n_layers: int | None = None) -> SeanetCodec:
    """The official 24 kHz model from a file `encodec_24khz-*.th`. Raises `DataError` naming the file."""
    path = Path(checkpoint).expanduser()
    return load_strict(build(OFFICIAL, n_layers), read_torch(path), path)


KIND = CodecKind(build, load, small=SMALL, small_layers=8, official=OFFICIAL)
