"""The adapter for EnCodec and SpeechTokenizer, which share SEANet and a residual quantizer with EMA codebooks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from phonoscope.codecs.base import Adapter, CodebookTensors

if TYPE_CHECKING:
    from torch import Tensor

    from phonoscope.codecs.rvq import EmaRvqTrainer


class SeanetCodec(Adapter):
    """The adapter over both classes: `model.encoder`, `model.decoder` and `model.quantizer.vq.layers`."""

    start_deviation = 1.0

    def __init__(self, model: Any, architecture: dict[str, Any], n_layers: int | None = None) -> None:
        super().__init__(model, list(model.quantizer.vq.layers), n_layers, architecture)
        self.sample_rate = int(architecture["sample_rate"])
        self.hop_length = math.prod(architecture.get("ratios") or architecture["strides"])
        self.codebook_size = int(architecture.get("bins") or architecture["codebook_size"])

    def quantizer_trainer(self, decay: float, dead_usage: float) -> EmaRvqTrainer:
        from phonoscope.codecs.rvq import EmaRvqTrainer

        return EmaRvqTrainer(self._layers, decay, dead_usage)

    def latent(self, audio: Tensor) -> Tensor:
        return self._model.encoder(audio)

    def quantize(self, latent: Tensor) -> Tensor:
        return self._model.quantizer.vq.encode(latent, n_q=self.n_layers).transpose(0, 1)

    def decode(self, codes: Tensor) -> Tensor:
        return self.decode_latent(self._model.quantizer.vq.decode(codes.transpose(0, 1)))

    def codebooks(self) -> CodebookTensors:
        rows = [layer.codebook.detach().clone() for layer in self._layers]
        return CodebookTensors(vectors=rows, raw=rows)
