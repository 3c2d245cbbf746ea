"""SpeechTokenizer (Zhang et al., arXiv:2308.16692): the class of the package `speechtokenizer`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from phonoscope.codecs.checkpoints import load_strict, read_config
from phonoscope.codecs.kinds.encodec import SeanetCodec
from phonoscope.codecs.registry import CodecKind
from phonoscope.errors import DataError
from phonoscope.files import read_torch

# the small SpeechTokenizer, in the keys of its official config.json: 16 kHz, 50 Hz, 8 layers of 1024 codes
SMALL = {
    "n_filters": 8, "strides": [8, 5, 4, 2], "dimension": 64, "semantic_dimension": 384, "bidirectional": True,
    "dilation_base": 2, "residual_kernel_size": 3, "n_residual_layers": 1, "lstm_layers": 1, "activation": "ELU",
    "codebook_size": 1024, "n_q": 8, "sample_rate": 16_000,
}  # fmt: skip
# `speechtokenizer_hubert_avg`, as its config.json builds it
OFFICIAL = SMALL | {"n_filters": 64, "dimension": 1024, "semantic_dimension": 768, "lstm_layers": 2}


def build(architecture: dict[str, Any], n_layers: int | None = None) -> SeanetCodec:
    """A `speechtokenizer.SpeechTokenizer` of this config.json with random weights."""
    from speechtokenizer import SpeechTokenizer

    return SeanetCodec(SpeechTokenizer(architecture), architecture, n_layers)


def load(checkpoint: str, n_layers: int | None = None) -> SeanetCodec:
    """An official model from its `.pt`, beside which lies its config.json, or from the folder that holds both."""
    path = Path(checkpoint).expanduser()
    folder = path if path.is_dir() else path.parent
    weights = next(iter(sorted(folder.glob("*.pt"))), folder / "SpeechTokenizer.pt") if path.is_dir() else path
    config = read_config(folder)
    try:
        codec = build(config, n_layers)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{folder / 'config.json'}: not SpeechTokenizer's config ({error!r})") from error
    return load_strict(codec, read_torch(weights), weights)


KIND = CodecKind(build, load, small=SMALL, small_layers=8, official=OFFICIAL, distils=True)
