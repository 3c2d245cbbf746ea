"""EnCodec and DAC in transformers' form: from a local folder or from the Hub. Only safetensors are read, no pickle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from phonoscope.codecs.base import Codebooks
from phonoscope.errors import DataError, EnvironmentFault

if TYPE_CHECKING:
    from torch import Tensor, nn

UNUSED_SETTINGS = ("architectures", "dtype", "id2label", "label2id", "transformers_version", "_name_or_path")


class TransformersCodec:
    """What both adapters share: the codec's shape, from the model's config."""

    def __init__(self, model: Any, layers: list[Any], n_layers: int | None = None) -> None:
        """Raises `DataError` if more layers are asked for than the model has."""
        if n_layers is not None and n_layers > len(layers):
            raise DataError(f"the checkpoint has {len(layers)} RVQ layers, not {n_layers}; lower codecs.*.layers")
        self.model: nn.Module = model.eval()
        self._model = model
        self._layers = layers[:n_layers]
        self.n_layers = len(self._layers)
        self.sample_rate = int(model.config.sampling_rate)
        self.hop_length = int(model.config.hop_length)
        self.codebook_size = int(model.config.codebook_size)

    def decode_latent(self, latent: Tensor) -> Tensor:
        audio: Tensor = self._model.decoder(latent)
        return audio

    def architecture(self) -> dict[str, Any]:
        settings = self._model.config.to_dict()
        return {key: value for key, value in settings.items() if key not in UNUSED_SETTINGS}


class TransformersEncodec(TransformersCodec):
    """The adapter over `transformers.EncodecModel`; mono models that take a whole utterance, such as the 24 kHz one."""

    def __init__(self, model: Any, n_layers: int | None = None) -> None:
        """Raises `DataError` for a stereo, normalising or chunking model, and if it has too few layers."""
        config = model.config
        if config.audio_channels != 1 or config.normalize or config.chunk_length_s:
            raise DataError(
                "this EnCodec is stereo or cuts and rescales its audio; give a mono one such as encodec_24khz"
            )
        super().__init__(model, list(model.quantizer.layers), n_layers)

    def latent(self, audio: Tensor) -> Tensor:
        found: Tensor = self._model.encoder(audio)
        return found

    def quantize(self, latent: Tensor) -> Tensor:
        residual, codes = latent, []
        for layer in self._layers:
            codes.append(layer.encode(residual))
            residual = residual - layer.decode(codes[-1])
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        return self.decode_latent(self._model.quantizer.decode(codes.transpose(0, 1)))

    def codebooks(self) -> Codebooks:
        rows = [layer.codebook.embed.detach().clone() for layer in self._layers]
        return Codebooks(vectors=rows, raw=rows)


class TransformersDac(TransformersCodec):
    """The adapter over `transformers.DacModel`."""

    def __init__(self, model: Any, n_layers: int | None = None) -> None:
        """Raises `DataError` if the model has too few layers."""
        super().__init__(model, list(model.quantizer.quantizers), n_layers)

    def latent(self, audio: Tensor) -> Tensor:
        found: Tensor = self._model.encoder(F.pad(audio, (0, -audio.shape[-1] % self.hop_length)))
        return found

    def quantize(self, latent: Tensor) -> Tensor:
        codes: Tensor = self._model.quantizer(latent, self.n_layers)[1]
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        return self.decode_latent(self._model.quantizer.from_codes(codes)[0])

    def codebooks(self) -> Codebooks:
        with torch.no_grad():
            raw = [layer.codebook.weight.detach().clone() for layer in self._layers]
            vectors = [
                layer.out_proj(rows.t()[None])[0].t().contiguous()
                for layer, rows in zip(self._layers, raw, strict=True)
            ]
        return Codebooks(vectors=vectors, raw=raw)


ADAPTERS: dict[str, type[TransformersEncodec | TransformersDac]] = {
    "encodec": TransformersEncodec,
    "dac": TransformersDac,
}


def build_transformers(
    architecture: dict[str, Any], n_layers: int | None = None
) -> TransformersEncodec | TransformersDac:
    """A transformers model of this config, `model_type` among it, with random weights."""
    from transformers import AutoConfig, AutoModel

    config: Any = AutoConfig.for_model(**architecture)
    return _adapter(architecture["model_type"], "config.json")(AutoModel.from_config(config), n_layers)


def load_transformers(checkpoint: str, n_layers: int | None = None) -> TransformersEncodec | TransformersDac:
    """A codec in transformers' form.

    Args:
        checkpoint: a folder with config.json and safetensors, or a Hub id such as `facebook/encodec_24khz`.
        n_layers: RVQ layers to use; by default all.
    Raises: `DataError` if it is no folder, of another model type or damaged; `EnvironmentFault` if a Hub id cannot be
        fetched.
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


def _adapter(model_type: str, source: str) -> type[TransformersEncodec | TransformersDac]:
    if model_type not in ADAPTERS:
        raise DataError(f"{source}: model type {model_type!r}; only {' and '.join(ADAPTERS)} can be used")
    return ADAPTERS[model_type]


def _fetch(auto: Any, source: str, local: bool, **options: Any) -> Any:
    """`auto.from_pretrained`, its failures sorted into those of the checkpoint and those of the network."""
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
            f"codec checkpoint {source!r} is no folder here and cannot be fetched from the Hub ({reason}); "
            "download it elsewhere and set codecs.*.checkpoint to its folder"
        ) from error
