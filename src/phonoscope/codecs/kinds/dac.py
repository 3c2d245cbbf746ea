"""Descript Audio Codec (Kumar et al., arXiv:2306.06546): the official class, with factorised, L2-normalised codes."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonoscope.codecs.base import FactorisedAdapter
from phonoscope.codecs.checkpoints import load_strict
from phonoscope.codecs.registry import CodecKind
from phonoscope.errors import DataError
from phonoscope.files import read_torch

if TYPE_CHECKING:
    from torch import Tensor

    from phonoscope.codecs.rvq import DacRvqTrainer

# the small DAC: 16 kHz, 50 Hz, 12 layers of 1024 codes of 8 dimensions
SMALL = {
    "sample_rate": 16_000, "encoder_dim": 8, "encoder_rates": [4, 4, 4, 5], "latent_dim": 128, "decoder_dim": 128,
    "decoder_rates": [5, 4, 4, 4], "n_codebooks": 12, "codebook_size": 1024, "codebook_dim": 8,
    "quantizer_dropout": 0.5,
}  # fmt: skip
# `weights_16khz.pth`, as its package's conf/final/16khz.yml builds it
OFFICIAL = SMALL | {
    "encoder_dim": 64, "encoder_rates": [2, 4, 5, 8], "latent_dim": 1024, "decoder_dim": 1536,
    "decoder_rates": [8, 5, 4, 2],
}  # fmt: skip


class DacCodec(FactorisedAdapter):
    """The adapter over `dac.model.DAC`."""

    start_deviation = 0.3  # beyond it, the Snake activation folds its input over

    def __init__(self, model: Any, architecture: dict[str, Any], n_layers: int | None = None) -> None:
        super().__init__(model, list(model.quantizer.quantizers), n_layers, architecture)
        self.sample_rate, self.hop_length = int(architecture["sample_rate"]), int(model.hop_length)
        self.codebook_size = int(architecture["codebook_size"])

    def quantizer_trainer(self, decay: float, dead_usage: float) -> DacRvqTrainer:
        from phonoscope.codecs.rvq import DacRvqTrainer

        return DacRvqTrainer(self.rvq_layers, decay, dead_usage)

    def latent(self, audio: Tensor) -> Tensor:
        return self._model.encoder(self._model.preprocess(audio, self.sample_rate))


def build(architecture: dict[str, Any], n_layers: int | None = None) -> DacCodec:
    """A `dac.model.DAC` of these keyword arguments with random weights."""
    from dac.model.dac import DAC

    return DacCodec(DAC(**architecture), architecture, n_layers)


def load(checkpoint: str, n_layers: int | None = None) -> DacCodec:
    """An official model from a file `weights*.pth`, whose metadata say how it is built."""
    from dac.model.dac import DAC

    path = Path(checkpoint).expanduser()
    content, known = read_torch(path), inspect.signature(DAC).parameters
    try:
        # unknown settings are ignored, as in DAC's own loader
        architecture = {key: value for key, value in content["metadata"]["kwargs"].items() if key in known}
        weights = content["state_dict"]
        codec = build(architecture, n_layers)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: not a DAC checkpoint ({error!r}); give an official weights*.pth") from error
    return load_strict(codec, weights, path)


KIND = CodecKind(build, load, small=SMALL, small_layers=12, official=OFFICIAL)
