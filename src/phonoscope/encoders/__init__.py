"""Audio encoders on codec codes or mel spectrograms, and the multimodal encoder around them."""

from __future__ import annotations

from phonoscope.encoders.audio import (
    ENCODEC_CODEBOOKS,
    AudioEncoder,
    CodeEmbedding,
    check_codes,
    encodec_codebooks,
    to_onnx,
)
from phonoscope.encoders.multimodal import MultimodalEncoder, TextEncoder, VideoEncoder
from phonoscope.encoders.windows import Windows, window_bounds

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
