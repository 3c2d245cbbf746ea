"""The adapter for EnCodec and SpeechTokenizer, which share SEANet and a residual quantizer with EMA codebooks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from phonoscope.codecs.base import CodebookTensors
from phonoscope.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from phonoscope.codecs.rvq import EmaRvqTrainer


class SeanetCodec:
    """The adapter over both classes: `model.encoder`, `model.decoder` and `model.quantizer.vq.layers`."""

    start_deviation = 1.0
    """Standard deviation of every encoder layer at the start."""

    def __init__(self, model: Any, architecture: dict[str, Any], n_layers: int | None = None) -> None:
        """Raises `DataError` if more layers are asked for than the model has."""
        self.model: nn.Module = model.eval()
        self._model = model
        layers = self._model.quantizer.vq.layers
        self.n_layers = n_layers or len(layers)
        if self.n_layers > len(layers):
            raise DataError(f"the checkpoint has {len(layers)} RVQ layers, not {self.n_layers}; ask for fewer layers")
        self.sample_rate = int(architecture["sample_rate"])
        self.hop_length = math.prod(architecture.get("ratios") or architecture["strides"])
        self.codebook_size = int(architecture.get("bins") or architecture["codebook_size"])
        self._architecture = architecture

    def rvq_layers(self) -> list[Any]:
        """The layers in use, each an official `VectorQuantization`."""
        return list(self._model.quantizer.vq.layers)[: self.n_layers]

    def quantizer_trainer(self, decay: float, dead_usage: float) -> EmaRvqTrainer:
        """The training rule of its codebooks: exponential moving averages."""
        from phonoscope.codecs.rvq import EmaRvqTrainer

        return EmaRvqTrainer(self.rvq_layers(), decay, dead_usage)

    def latent(self, audio: Tensor) -> Tensor:
        return self._model.encoder(audio)

    def quantize(self, latent: Tensor) -> Tensor:
        return self._model.quantizer.vq.encode(latent, n_q=self.n_layers).transpose(0, 1)

    def decode_latent(self, latent: Tensor) -> Tensor:
        return self._model.decoder(latent)

    def decode(self, codes: Tensor) -> Tensor:
        return self.decode_latent(self._model.quantizer.vq.decode(codes.transpose(0, 1)))

    def codebooks(self) -> CodebookTensors:
        rows = [layer.codebook.detach().clone() for layer in self.rvq_layers()]
        return CodebookTensors(vectors=rows, raw=rows)

    def architecture(self) -> dict[str, Any]:
        return dict(self._architecture)
