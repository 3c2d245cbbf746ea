"""Codecs in transformers' form: EnCodec, DAC, Mimi and X-Codec, from a local folder or the Hub; never trained here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phonoscope.codecs.registry import CodecKind

if TYPE_CHECKING:
    from phonoscope.codecs.base import Codec


def build(architecture: dict[str, Any], n_layers: int | None = None) -> Codec:
    """A transformers model of this config, which includes `model_type`, with random weights."""
    from phonoscope.codecs.hub import build_transformers

    return build_transformers(architecture, n_layers)


def load(checkpoint: str, n_layers: int | None = None) -> Codec:
    """A model from a folder with config.json and safetensors, or a Hub id such as `facebook/encodec_24khz`."""
    from phonoscope.codecs.hub import load_transformers

    return load_transformers(checkpoint, n_layers)


KIND = CodecKind(build, load)
