"""Audio encoders on codec codes or mel spectrograms, and the multimodal encoder around them."""

from phonoscope.encoders.audio import AudioEncoder, check_codes, encodec_codebooks, to_onnx
from phonoscope.encoders.multimodal import MultimodalEncoder

__all__ = ["AudioEncoder", "MultimodalEncoder", "check_codes", "encodec_codebooks", "to_onnx"]
