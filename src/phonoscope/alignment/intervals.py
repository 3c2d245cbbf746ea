"""Intervals of words and phones, and the checks that every alignment must pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from phonoscope.data.labels import Interval
from phonoscope.data.phones import SILENCE
from phonoscope.errors import DataError

TOLERANCE_S = 0.05
"""How far an alignment may run past its audio (aligners round to their frames); the excess is cut off."""
_EPSILON_S = 1e-6


def check_intervals(intervals: Sequence[Interval], duration_s: float) -> list[Interval]:
    """The intervals in time order, cut at `duration_s`.

    Raises: `DataError` with the reason for an interval that is reversed, negative, not finite, overlaps another or ends
    more than `TOLERANCE_S` after `duration_s`.
    """
    ordered = sorted(intervals)
    for interval in ordered:
        name = f"interval {interval.label!r} at {interval.start_s:.3f}-{interval.end_s:.3f} s"
        if not (math.isfinite(interval.start_s) and math.isfinite(interval.end_s)):
            raise DataError(f"{name} is not finite")
        if interval.start_s < 0:
            raise DataError(f"{name} starts before 0")
        if interval.end_s <= interval.start_s:
            raise DataError(f"{name} is reversed or empty")
        if interval.end_s > duration_s + TOLERANCE_S:
            raise DataError(f"{name} ends after the utterance ({duration_s:.3f} s)")
    for before, after in pairwise(ordered):
        if after.start_s < before.end_s - _EPSILON_S:
            raise DataError(
                f"intervals {before.label!r} (to {before.end_s:.3f} s) and {after.label!r} "
                f"(from {after.start_s:.3f} s) overlap"
            )
    cut = (Interval(i.start_s, min(i.end_s, duration_s), i.label) for i in ordered)
    return [interval for interval in cut if interval.end_s > interval.start_s]


def relabel(intervals: Iterable[Interval], rename: Callable[[str], str]) -> list[Interval]:
    """The intervals with new labels."""
    return [interval._replace(label=rename(interval.label)) for interval in intervals]


def fill_gaps(intervals: Sequence[Interval], duration_s: float, filler: str = SILENCE) -> list[Interval]:
    """Tile [0, duration_s]: gaps become `filler`, and neighbouring `filler` intervals one."""
    tiled: list[Interval] = []
    at = 0.0
    for interval in [*intervals, Interval(duration_s, duration_s, filler)]:
        if interval.start_s > at + _EPSILON_S:
            _append(tiled, Interval(at, interval.start_s, filler), filler)
        if interval.end_s > interval.start_s:
            _append(tiled, interval, filler)
        at = max(at, interval.end_s)
    return tiled


def _append(tiled: list[Interval], interval: Interval, filler: str) -> None:
    if tiled and tiled[-1].label == interval.label == filler:
        tiled[-1] = tiled[-1]._replace(end_s=interval.end_s)
    else:
        tiled.append(interval)
