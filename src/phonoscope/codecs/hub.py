"""Adapters for codecs in transformers' form, from a local folder or the Hub. Only safetensors are read, no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from phonoscope.codecs.base import CodebookTensors
from phonoscope.errors import DataError, EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from phonoscope.codecs.base import Codec

UNUSED_SETTINGS = ("architectures", "dtype", "id2label", "label2id", "transformers_version", "_name_or_path")


class TransformersCodec:
    """The common part of the adapters: the codec's shape, and the code vectors of a plain RVQ."""

    def __init__(self, model: Any, n_layers: int | None = None) -> None:
        """Raises `DataError` for a model that the adapter cannot use, or if it has too few layers."""
        layers, config = self.all_layers(model), model.config
        if n_layers is not None and n_layers > len(layers):
            raise DataError(f"the checkpoint has {len(layers)} RVQ layers, not {n_layers}; ask for fewer layers")
        self.model: nn.Module = model.eval()
        self._model = model
        self._layers = layers[:n_layers]
        self.n_layers = len(self._layers)
        self.sample_rate = int(config.sample_rate if hasattr(config, "sample_rate") else config.sampling_rate)
        self.hop_length = self.samples_per_frame(config)
        self.codebook_size = int(config.codebook_size)

    @staticmethod
    def all_layers(model: Any) -> list[Any]:
        """The quantizer's layers, the first one first. Raises `DataError` for a model that the adapter cannot use."""
        return list(model.quantizer.quantizers)

    @staticmethod
    def samples_per_frame(config: Any) -> int:
        """Samples per frame."""
        return int(config.hop_length)

    def quantize(self, latent: Tensor) -> Tensor:
        residual, codes = latent, []
        for layer in self._layers:
            codes.append(layer.encode(residual))
            residual = residual - layer.decode(codes[-1])
        return torch.stack(codes, dim=1)

    def codebooks(self) -> CodebookTensors:
        rows = [layer.codebook.embed.detach().clone() for layer in self._layers]
        return CodebookTensors(vectors=rows, raw=rows)

    def decode_latent(self, latent: Tensor) -> Tensor:
        audio: Tensor = self._model.decoder(latent)
        return audio

    def architecture(self) -> dict[str, Any]:
        settings = self._model.config.to_dict()
        return {key: value for key, value in settings.items() if key not in UNUSED_SETTINGS}

    def _whole_frames(self, audio: Tensor) -> Tensor:
        """The audio with zeros up to a whole frame."""
        return F.pad(audio, (0, -audio.shape[-1] % self.hop_length))


class TransformersEncodec(TransformersCodec):
    """The adapter over `transformers.EncodecModel`; mono models that take a whole utterance, such as the 24 kHz one."""

    @staticmethod
    def all_layers(model: Any) -> list[Any]:
        config = model.config
        if config.audio_channels != 1 or config.normalize or config.chunk_length_s:
            raise DataError(
                "this EnCodec is stereo or cuts and rescales its audio; give a mono one such as encodec_24khz"
            )
        return list(model.quantizer.layers)

    def latent(self, audio: Tensor) -> Tensor:
        latent: Tensor = self._model.encoder(audio)
        return latent

    def decode(self, codes: Tensor) -> Tensor:
        return self.decode_latent(self._model.quantizer.decode(codes.transpose(0, 1)))


class TransformersDac(TransformersCodec):
    """The adapter over `transformers.DacModel`."""

    def latent(self, audio: Tensor) -> Tensor:
        latent: Tensor = self._model.encoder(self._whole_frames(audio))
        return latent

    def quantize(self, latent: Tensor) -> Tensor:
        codes: Tensor = self._model.quantizer(latent, self.n_layers)[1]
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        return self.decode_latent(self._model.quantizer.from_codes(codes)[0])

    @torch.no_grad()
    def codebooks(self) -> CodebookTensors:
        raw = [layer.codebook.weight.detach().clone() for layer in self._layers]
        return CodebookTensors([project(layer.out_proj, r) for layer, r in zip(self._layers, raw, strict=True)], raw)


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

    @staticmethod
    def samples_per_frame(config: Any) -> int:
        return round(config.sampling_rate / config.frame_rate)

    def latent(self, audio: Tensor) -> Tensor:
        latent: Tensor = self._model.encoder(audio).latents
        return latent

    def quantize(self, latent: Tensor) -> Tensor:
        semantic = int(self._model.config.num_semantic_quantizers)
        codes: Tensor = self._model.quantizer.encode(latent, max(semantic, self.n_layers))
        return codes[: self.n_layers].transpose(0, 1)

    def decode_latent(self, latent: Tensor) -> Tensor:
        audio: Tensor = self._model.decoder(latent).audio_values
        return audio

    def decode(self, codes: Tensor) -> Tensor:
        return self.decode_latent(self._model.quantizer.decode(codes))

    @torch.no_grad()
    def codebooks(self) -> CodebookTensors:
        raw = [layer.codebook.embed.detach().clone() for layer in self._layers]
        projections = [half.output_proj for half in _mimi_halves(self._model) for _ in half.layers]
        vectors = [
            project(projection, rows) if projection else rows
            for projection, rows in zip(projections[: self.n_layers], raw, strict=True)
        ]
        return CodebookTensors(vectors, raw)


class TransformersXcodec(TransformersCodec):
    """The adapter over `transformers.XcodecModel`: a DAC encoder and a speech model's features, quantized together."""

    def latent(self, audio: Tensor) -> Tensor:
        """As `XcodecModel.encode`, up to the quantizer."""
        model, audio = self._model, self._whole_frames(audio)
        semantic = model.encoder_semantic(model._extract_semantic_features(audio).transpose(1, 2))
        acoustic = model.acoustic_encoder(audio)
        joined: Tensor = model.fc(torch.cat([acoustic, semantic], dim=1).transpose(1, 2))
        return joined.transpose(1, 2)

    def decode_latent(self, latent: Tensor) -> Tensor:
        audio: Tensor = self._model.acoustic_decoder(self._model.fc2(latent.transpose(1, 2)).transpose(1, 2))
        return audio

    def decode(self, codes: Tensor) -> Tensor:
        return self.decode_latent(self._model.quantizer.decode(codes.transpose(0, 1)))


def _mimi_halves(model: Any) -> list[Any]:
    """Mimi's semantic and acoustic quantizer."""
    quantizer = model.quantizer
    return [quantizer.semantic_residual_vector_quantizer, quantizer.acoustic_residual_vector_quantizer]


def project(projection: Any, rows: Tensor) -> Tensor:
    """Rows [K, d] through a 1x1 convolution: [K, D]."""
    projected: Tensor = projection(rows.t()[None])[0].t().contiguous()
    return projected


ADAPTERS: dict[str, Callable[[Any, int | None], Codec]] = {
    "encodec": TransformersEncodec,
    "dac": TransformersDac,
    "mimi": TransformersMimi,
    "xcodec": TransformersXcodec,
}


def build_transformers(architecture: dict[str, Any], n_layers: int | None = None) -> Codec:
    """A transformers model of this config, which includes `model_type`, with random weights."""
    from transformers import AutoConfig, AutoModel

    config: Any = AutoConfig.for_model(**architecture)
    return _adapter(architecture["model_type"], "config.json")(AutoModel.from_config(config), n_layers)


def load_transformers(checkpoint: str, n_layers: int | None = None) -> Codec:
    """A codec in transformers' form.

    Args:
        checkpoint: a folder with config.json and safetensors, or a Hub id such as `facebook/encodec_24khz`.
        n_layers: RVQ layers to use; by default all.
    Raises: `DataError` if the folder is missing, of another model type or damaged; `EnvironmentFault` if a Hub id
        cannot be fetched.
    """
    from transformers import AutoConfig, AutoModel

    folder = Path(checkpoint).expanduser()
    local = folder.is_dir()
    if not local and (folder.is_absolute() or checkpoint.startswith((".", "~"))):
        raise DataError(f"{folder}: no such folder; give a folder with config.json and safetensors, or a Hub id")
    source = str(folder) if local else checkpoint
    config = _fetch(AutoConfig, source, local)
    adapter = _adapter(config.model_type, source)
    model, report = _fetch(
        AutoModel, source, local, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True
    )
    if report["missing_keys"]:
        raise DataError(f"{source}: the weights lack {min(report['missing_keys'])}; download the checkpoint again")
    return adapter(model, n_layers)


def _adapter(model_type: str, source: str) -> Callable[[Any, int | None], Codec]:
    if model_type not in ADAPTERS:
        raise DataError(f"{source}: model type {model_type!r}; only {', '.join(ADAPTERS)} can be used")
    return ADAPTERS[model_type]


def _fetch(auto: Any, source: str, local: bool, **options: Any) -> Any:
    """`auto.from_pretrained`; a fault of the checkpoint is a `DataError`, one of the network an `EnvironmentFault`."""
    from safetensors import SafetensorError

    try:
        return auto.from_pretrained(source, local_files_only=local, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if local or not isinstance(error, OSError):
            raise DataError(
                f"{source}: not a usable codec checkpoint ({reason}); it needs config.json and safetensors"
            ) from error
        raise EnvironmentFault(
            f"codec checkpoint {source!r} is not a local folder and cannot be fetched from the Hub ({reason}); "
            "download it elsewhere and give its folder"
        ) from error
