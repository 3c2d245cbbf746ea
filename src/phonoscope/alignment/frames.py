"""Phone labels of a codec's frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from phonoscope.alignment.arpabet import SILENCE
from phonoscope.alignment.intervals import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DECIMALS = 9  # overlaps that differ by less than a nanosecond are a tie


def frame_labels(
    intervals: Sequence[Interval], n_frames: int, frame_rate_hz: float, *, uncovered: str = SILENCE
) -> NDArray[np.str_]:
    """Label every frame with the interval that overlaps it most.

    Frame i covers [i / rate, (i + 1) / rate). Of equal overlaps the earlier interval wins; a frame that no interval
    covers is `uncovered`. Each interval counts by itself: two intervals of one phone within a frame are not added up.
    Intervals may come in any order. Returns: strings of shape [n_frames].
    """
    ordered = sorted(intervals, key=lambda interval: (interval.start_s, interval.end_s))
    names = np.array([uncovered, *(interval.label for interval in ordered)])
    starts = np.array([interval.start_s for interval in ordered], dtype=np.float64)
    ends = np.array([interval.end_s for interval in ordered], dtype=np.float64)

    # every (frame, interval) pair that can touch; one frame more on each side for rounding
    first = np.clip(np.floor(starts * frame_rate_hz).astype(np.int64) - 1, 0, n_frames)
    last = np.clip(np.ceil(ends * frame_rate_hz).astype(np.int64) + 1, first, n_frames)
    counts = last - first
    interval = np.repeat(np.arange(len(ordered)), counts)
    frame = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[interval]

    overlap = np.minimum(ends[interval], (frame + 1) / frame_rate_hz) - np.maximum(
        starts[interval], frame / frame_rate_hz
    )
    overlap = overlap.round(_DECIMALS)
    order = np.lexsort((interval, -overlap, frame))
    order = order[overlap[order] > 0]
    labelled, winner = np.unique(frame[order], return_index=True)
    choice = np.zeros(n_frames, dtype=np.int64)
    choice[labelled] = interval[order][winner] + 1
    return names[choice]
