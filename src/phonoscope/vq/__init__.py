"""Vector quantizers: EMA codebooks, their usage, and the diagnosis of anyone's quantizer from its checkpoint."""

from __future__ import annotations

from phonoscope.vq.codebooks import EmaCodebook
from phonoscope.vq.diagnosis import Diagnosis, Fault, diagnose
from phonoscope.vq.quantizers import Quantized, Quantizer, build_quantizer
from phonoscope.vq.states import QuantizerState, load_tensors, read_state
from phonoscope.vq.usage import CodeUsage, perplexity

__all__ = [
    "CodeUsage",
    "Diagnosis",
    "EmaCodebook",
    "Fault",
    "Quantized",
    "Quantizer",
    "QuantizerState",
    "build_quantizer",
    "diagnose",
    "load_tensors",
    "perplexity",
    "read_state",
]
