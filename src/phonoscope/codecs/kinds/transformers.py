"""Codecs in transformers' form, from a local folder or the Hub; never trained here. Only safetensors are read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonoscope.codecs.registry import CodecKind
from phonoscope.errors import DataError, EnvironmentFault

if TYPE_CHECKING:
    from phonoscope.codecs.base import Codec


def build(architecture: dict[str, Any], n_layers: int | None = None) -> Codec:
    """A transformers model of this config, which includes `model_type`, with random weights."""
    from transformers import AutoConfig, AutoModel

    from phonoscope.codecs.hub import adapter

    config: Any = AutoConfig.for_model(**architecture)
    return adapter(architecture["model_type"], "config.json")(AutoModel.from_config(config), n_layers)


def load(checkpoint: str, n_layers: int | None = None) -> Codec:
    """A model from a folder with config.json and safetensors, or a Hub id such as `facebook/encodec_24khz`."""
    import torch
    from transformers import AutoConfig, AutoModel

    from phonoscope.codecs.hub import adapter

    folder = Path(checkpoint).expanduser()
    local = folder.is_dir()
    if not local and (folder.is_absolute() or checkpoint.startswith((".", "~"))):
        raise DataError(f"{folder}: no such folder; give a folder with config.json and safetensors, or a Hub id")
    source = str(folder) if local else checkpoint
    config = _fetch(AutoConfig, source, local)
    wrap = adapter(config.model_type, source)  # before the weights are fetched
    options = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
    model, report = _fetch(AutoModel, source, local, config=config, **options)
    if report["missing_keys"]:
        raise DataError(f"{source}: the weights lack {min(report['missing_keys'])}; download the checkpoint again")
    return wrap(model, n_layers)


def _fetch(auto: Any, source: str, local: bool, **options: Any) -> Any:
    """`auto.from_pretrained`; a fault of the checkpoint is a `DataError`, one of the network an `EnvironmentFault`."""
    from safetensors import SafetensorError

    try:
        return auto.from_pretrained(source, local_files_only=local, **options)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if local or not isinstance(error, OSError):
            needs = "it needs config.json and safetensors"
            raise DataError(f"{source}: not a usable codec checkpoint ({reason}); {needs}") from error
        remedy = "download it elsewhere and give its folder"
        raise EnvironmentFault(f"{source}: cannot be fetched from the Hub ({reason}); {remedy}") from error


KIND = CodecKind(build, load)
