"""EnCodec (Defossez et al., arXiv:2210.13438): the class of the package `encodec`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phonoscope.codecs.checkpoints import load_strict
from phonoscope.codecs.registry import CodecKind
from phonoscope.codecs.seanet import SeanetCodec
from phonoscope.files import read_torch

# the small EnCodec: causal, 24 kHz, 75 Hz, 8 layers of 1024 codes
SMALL = {
    "sample_rate": 24_000, "n_filters": 8, "dimension": 64, "ratios": [8, 5, 4, 2], "lstm": 1, "n_q": 8, "bins": 1024,
    "true_skip": True,
}  # fmt: skip
# `encodec_model_24khz`, as its package builds it
OFFICIAL = {
    "sample_rate": 24_000, "n_filters": 32, "dimension": 128, "ratios": [8, 5, 4, 2], "lstm": 2, "n_q": 32,
    "bins": 1024, "true_skip": False,
}  # fmt: skip


def build(architecture: dict[str, Any], n_layers: int | None = None) -> SeanetCodec:
    """An `encodec.EncodecModel` of this architecture with random weights."""
    from encodec import EncodecModel
    from encodec.modules import SEANetDecoder, SEANetEncoder
    from encodec.quantization import ResidualVectorQuantizer

    shared = {key: architecture[key] for key in ("n_filters", "dimension", "ratios", "lstm", "true_skip")}
    model = EncodecModel(
        SEANetEncoder(channels=1, norm="weight_norm", causal=True, **shared),
        SEANetDecoder(channels=1, norm="weight_norm", causal=True, **shared),
        ResidualVectorQuantizer(architecture["dimension"], architecture["n_q"], architecture["bins"]),
        target_bandwidths=[6.0],
        sample_rate=architecture["sample_rate"],
        channels=1,
    )
    return SeanetCodec(model, architecture, n_layers)


def load(checkpoint: str, n_layers: int | None = None) -> SeanetCodec:
    """The official 24 kHz model from a file `encodec_24khz-*.th`. Raises `DataError` naming the file."""
    path = Path(checkpoint).expanduser()
    weights = read_torch(path)
    return load_strict(build(OFFICIAL, n_layers), weights, path)


KIND = CodecKind(build, load, small=SMALL, small_layers=8, official=OFFICIAL)
