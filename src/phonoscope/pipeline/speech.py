"""The audio of the corpus, and a codec to run on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.audio import read_audio, resample
from phonoscope.errors import DataError, TooManyRejected

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from phonoscope.config.compute import ComputeConfig
    from phonoscope.data import Manifest


@contextmanager
def limited_rejections() -> Iterator[None]:
    """Add the key of params.yaml to a refusal of too many unusable utterances."""
    try:
        yield
    except TooManyRejected as error:
        raise DataError(f"{error} (corpus.max_rejected)") from error


def waveforms(manifest: Manifest, utterances: Sequence[str], sample_rate_hz: int) -> list[NDArray[np.float32]]:
    """Audio of these utterances, [T] each, at one rate. Ids that the manifest lacks are passed over."""
    files = manifest.by_utterance("path")
    chosen = [paths.CORPUS / files[name] for name in utterances if name in files]
    return [resample(*read_audio(path), sample_rate_hz) for path in chosen]


@lru_cache(maxsize=1)
def open_model(codec: str, layers: int, compute: ComputeConfig, seed: int) -> Any:
    """A codec of the pipeline on its device, loaded once a process."""
    from phonoscope.codecs.checkpoints import load_codec
    from phonoscope.compute import setup_torch

    device = setup_torch(compute, seed)
    model = load_codec(paths.codec_model(codec), layers)
    model.model.to(device)
    return model
