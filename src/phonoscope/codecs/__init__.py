"""Neural audio codecs behind one interface: load one, encode speech, train or start one, measure its reconstructions.

codec = load_codec("speechtokenizer")                       # a packaged model, a folder, or a Hub id
codes, latent = encode(codec, waveform, sample_rate)        # [L, F] and [D, F]
"""

from phonoscope.codecs.base import bitrate_bps, encode, encode_batch, frame_rate_hz
from phonoscope.codecs.checkpoints import load_codec, random_codec, save_codec

__all__ = ["bitrate_bps", "encode", "encode_batch", "frame_rate_hz", "load_codec", "random_codec", "save_codec"]
