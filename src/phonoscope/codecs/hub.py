"""Adapters for codecs in transformers' form: the kinds of model that `kinds.transformers` loads."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from phonoscope.codecs.base import Adapter, CodebookTensors, FactorisedAdapter, project
from phonoscope.errors import DataError

UNUSED_SETTINGS = ("architectures", "dtype", "id2label", "label2id", "transformers_version", "_name_or_path")


class TransformersCodec(Adapter):
    """The common part of the adapters: the codec's shape, and the code vectors of a plain RVQ."""

    def __init__(self, model: Any, n_layers: int | None = None) -> None:
        """Raises `DataError` for a model that the adapter cannot use, or if it has too few layers."""
        config, settings = model.config, model.config.to_dict()
        architecture = {key: value for key, value in settings.items() if key not in UNUSED_SETTINGS}
        super().__init__(model, self.all_layers(model), n_layers, architecture)
        self.sample_rate = int(config.sample_rate if hasattr(config, "sample_rate") else config.sampling_rate)
        whole = hasattr(config, "hop_length")  # Mimi has a frame rate in its place
        self.hop_length = int(config.hop_length if whole else round(self.sample_rate / config.frame_rate))
        self.codebook_size = int(config.codebook_size)

    @staticmethod
    def all_layers(model: Any) -> list[Any]:
        """The quantizer's layers, the first one first. Raises `DataError` for a model that the adapter cannot use."""
        return list(model.quantizer.quantizers)

    def latent(self, audio: Tensor) -> Tensor:
        return self._model.encoder(audio)

    def quantize(self, latent: Tensor) -> Tensor:
        residual, codes = latent, []
        for layer in self.rvq_layers:
            codes.append(layer.encode(residual))
            residual = residual - layer.decode(codes[-1])
        return torch.stack(codes, dim=1)

    def codebooks(self) -> CodebookTensors:
        rows = [layer.codebook.embed.detach().clone() for layer in self.rvq_layers]
        return CodebookTensors(vectors=rows, raw=rows)

    def decode(self, codes: Tensor) -> Tensor:
        return self.decode_latent(self._model.quantizer.decode(codes.transpose(0, 1)))

    def _whole_frames(self, audio: Tensor) -> Tensor:
        """The audio with zeros up to a whole frame."""
        return F.pad(audio, (0, -audio.shape[-1] % self.hop_length))


class TransformersEncodec(TransformersCodec):
    """The adapter over `transformers.EncodecModel`; mono models that take a whole utterance, such as the 24 kHz one."""

    @staticmethod
    def all_layers(model: Any) -> list[Any]:
        config = model.config
        if config.audio_channels != 1 or config.normalize or config.chunk_length_s:
            raise DataError("this EnCodec is stereo or rescales its audio; give a mono one such as encodec_24khz")
        return list(model.quantizer.layers)


class TransformersDac(FactorisedAdapter, TransformersCodec):
    """The adapter over `transformers.DacModel`."""

    def latent(self, audio: Tensor) -> Tensor:
        return self._model.encoder(self._whole_frames(audio))


class TransformersMimi(TransformersCodec):
    """The adapter over `transformers.MimiModel`.

    Layer 1 is Mimi's semantic quantizer, distilled from WavLM; the others are a second RVQ of the same latent,
    so that layer 2 does not refine layer 1. Each of the two projects the sum of its rows to the latent's dimensions.
    """

    @staticmethod
    def all_layers(model: Any) -> list[Any]:
        if model.config.audio_channels != 1:
            raise DataError("this Mimi is stereo; give a mono one such as kyutai/mimi")
        return [layer for half in _mimi_halves(model) for layer in half.layers]

    def latent(self, audio: Tensor) -> Tensor:
        return self._model.encoder(audio).latents

    def quantize(self, latent: Tensor) -> Tensor:
        # the model refuses fewer layers than its semantic ones
        layers = max(int(self._model.config.num_semantic_quantizers), self.n_layers)
        return self._model.quantizer.encode(latent, layers)[: self.n_layers].transpose(0, 1)

    def decode_latent(self, latent: Tensor) -> Tensor:
        return self._model.decoder(latent).audio_values

    def decode(self, codes: Tensor) -> Tensor:
        return self.decode_latent(self._model.quantizer.decode(codes))

    def codebooks(self) -> CodebookTensors:
        raw = [layer.codebook.embed.detach().clone() for layer in self.rvq_layers]
        maps = [half.output_proj for half in _mimi_halves(self._model) for _ in half.layers][: self.n_layers]
        return CodebookTensors([project(out, r) if out else r for out, r in zip(maps, raw, strict=True)], raw)


class TransformersXcodec(TransformersCodec):
    """The adapter over `transformers.XcodecModel`: a DAC encoder and a speech model's features, quantized together."""

    def latent(self, audio: Tensor) -> Tensor:
        """As `XcodecModel.encode`, up to the quantizer."""
        model, audio = self._model, self._whole_frames(audio)
        semantic = model.encoder_semantic(model._extract_semantic_features(audio).transpose(1, 2))
        joined = torch.cat([model.acoustic_encoder(audio), semantic], dim=1)
        return model.fc(joined.transpose(1, 2)).transpose(1, 2)

    def decode_latent(self, latent: Tensor) -> Tensor:
        return self._model.acoustic_decoder(self._model.fc2(latent.transpose(1, 2)).transpose(1, 2))


def _mimi_halves(model: Any) -> list[Any]:
    """Mimi's semantic and acoustic quantizer."""
    quantizer = model.quantizer
    return [quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer]


ADAPTERS: dict[str, type[TransformersCodec]] = {
    "encodec": TransformersEncodec,
    "dac": TransformersDac,
    "mimi": TransformersMimi,
    "xcodec": TransformersXcodec,
}


def adapter(model_type: str, source: str) -> type[TransformersCodec]:
    """The adapter to models of this type. Raises `DataError` if there is none."""
    if model_type not in ADAPTERS:
        raise DataError(f"{source}: model type {model_type!r}; only {', '.join(ADAPTERS)} can be used")
    return ADAPTERS[model_type]
