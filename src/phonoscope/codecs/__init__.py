"""Neural audio codecs behind one interface: load one, encode speech, train or start one, measure its reconstructions.

codec = load_codec("speechtokenizer")                       # a packaged model, a folder, or a Hub id
codes, latent = encode(codec, waveform, sample_rate)        # [L, F] and [D, F]
"""

from __future__ import annotations

from phonoscope.codecs.base import CodebookTensors, Codec, Encoded, bitrate_bps, encode, encode_batch, frame_rate_hz
from phonoscope.codecs.checkpoints import load_codec, packaged_names, random_codec, save_codec

__all__ = [
    "CodebookTensors",
    "Codec",
    "Encoded",
    "bitrate_bps",
    "encode",
    "encode_batch",
    "frame_rate_hz",
    "load_codec",
    "packaged_names",
    "random_codec",
    "save_codec",
]
