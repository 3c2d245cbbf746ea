"""Vector quantizers: EMA codebooks, their usage, and the diagnosis of anyone's quantizer from its checkpoint."""

from phonoscope.vq.diagnosis import Diagnosis, diagnose
from phonoscope.vq.quantizers import EmaCodebook, Quantizer, build_quantizer
from phonoscope.vq.states import read_state
from phonoscope.vq.usage import CodeUsage

__all__ = ["CodeUsage", "Diagnosis", "EmaCodebook", "Quantizer", "build_quantizer", "diagnose", "read_state"]
