"""The audio of the corpus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from phonoscope import paths

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from phonoscope.data import Manifest


def waveforms(manifest: Manifest, utterances: Sequence[str], sample_rate_hz: int) -> list[NDArray[np.float32]]:
    """Audio of these utterances, [T] each, at one rate. Ids that the manifest lacks are passed over."""
    from phonoscope.audio import read_audio, resample

    files = manifest.by_utterance("path")
    chosen = [paths.CORPUS / files[name] for name in utterances if name in files]
    return [resample(*read_audio(path), sample_rate_hz) for path in chosen]
