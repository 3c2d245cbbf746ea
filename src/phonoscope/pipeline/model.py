"""A codec of the pipeline, ready to run."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from phonoscope import paths

if TYPE_CHECKING:
    from phonoscope.config.compute import ComputeConfig


@lru_cache(maxsize=1)
def open_model(codec: str, layers: int, compute: ComputeConfig, seed: int) -> Any:
    """A codec of the pipeline on its device, loaded once a process."""
    from phonoscope.codecs.checkpoints import load_codec
    from phonoscope.compute import setup_torch

    device = setup_torch(compute, seed)
    model = load_codec(paths.codec_model(codec), layers)
    model.model.to(device)
    return model
