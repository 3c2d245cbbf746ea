"""The audio of the corpus, as the codecs take it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.audio import read_audio, resample

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


def waveforms(manifest: pd.DataFrame, utterances: Sequence[str], sample_rate_hz: int) -> list[NDArray[np.float32]]:
    """The audio of these utterances, [T] each, at one rate. Ids that were not aligned are passed over."""
    rows = manifest.set_index("utterance")
    found: list[Any] = [rows.loc[name] for name in utterances if name in rows.index]
    return [
        resample(read_audio(paths.CORPUS / row["path"])[0], int(row["sample_rate"]), sample_rate_hz) for row in found
    ]
