"""The F0 tracks of all utterances as one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

Track = tuple["NDArray[np.float64]", "NDArray[np.float32]"]
"""Times in seconds and F0 in Hz, as `pitch.f0_track` returns them."""


def track_table(tracks: Mapping[str, Track]) -> pa.Table:
    """Columns utterance (dictionary of strings), time_s (float64), f0_hz (float32, NaN is unvoiced), in given order."""
    import pyarrow as pa

    lengths = [len(times_s) for times_s, _ in tracks.values()]
    index = pa.array(np.repeat(np.arange(len(lengths), dtype=np.int32), lengths))
    return pa.table(
        {
            "utterance": pa.DictionaryArray.from_arrays(index, pa.array(list(tracks), pa.string())),
            "time_s": np.concatenate([np.empty(0), *(times_s for times_s, _ in tracks.values())]),
            "f0_hz": np.concatenate([np.empty(0, np.float32), *(f0_hz for _, f0_hz in tracks.values())]),
        }
    )
