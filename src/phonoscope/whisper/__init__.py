"""Whisper: weights, encoder features, transcripts and word error rates."""

from phonoscope.config.whisper import WhisperConfig
from phonoscope.whisper.ct2 import load_ct2, read_ct2
from phonoscope.whisper.model import Whisper, encoder_features, frame_count, load_whisper, transcribe
from phonoscope.whisper.transcript import normalize_text, word_error_rate

__all__ = [
    "Whisper",
    "WhisperConfig",
    "encoder_features",
    "frame_count",
    "load_ct2",
    "load_whisper",
    "normalize_text",
    "read_ct2",
    "transcribe",
    "word_error_rate",
]
