"""Audio encoders on codec codes or mel spectrograms, and the multimodal encoder around them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phonoscope.encoders.audio import AudioEncoder, CodeEmbedding, check_codes
    from phonoscope.encoders.bitrate import ENCODEC_CODEBOOKS, encodec_codebooks
    from phonoscope.encoders.export import to_onnx
    from phonoscope.encoders.multimodal import MultimodalEncoder, TextEncoder, VideoEncoder
    from phonoscope.encoders.windows import Windows, window_bounds

_MODULES = {
    "audio": ("AudioEncoder", "CodeEmbedding", "check_codes"),
    "bitrate": ("ENCODEC_CODEBOOKS", "encodec_codebooks"),
    "export": ("to_onnx",),
    "multimodal": ("MultimodalEncoder", "TextEncoder", "VideoEncoder"),
    "windows": ("Windows", "window_bounds"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "ENCODEC_CODEBOOKS",
    "AudioEncoder",
    "CodeEmbedding",
    "MultimodalEncoder",
    "TextEncoder",
    "VideoEncoder",
    "Windows",
    "check_codes",
    "encodec_codebooks",
    "to_onnx",
    "window_bounds",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that reading the parameters costs no import of torch."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"phonoscope.encoders.{_HOME[name]}"), name)
