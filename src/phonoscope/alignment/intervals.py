"""Intervals of words and phones, the checks that every alignment must pass, and the words of a transcript."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from phonoscope.data.labels import Interval
from phonoscope.data.phones import SILENCE
from phonoscope.errors import DataError

TOLERANCE_S = 0.05  # aligners round to their frames, so may run past the audio; the excess is cut off
_EPSILON_S = 1e-6  # TextGrids round to microseconds: a gap or an overlap below one is none
_EDGES = re.compile(r"^\W+|\W+$")


def check_intervals(intervals: Sequence[Interval], duration_s: float) -> list[Interval]:
    """The intervals in time order, cut at `duration_s`.

    Raises: `DataError` if one is reversed, negative, not finite, overlaps, or ends over `TOLERANCE_S` after the end.
    """
    ordered = sorted(intervals)
    for start_s, end_s, label in ordered:
        faults = {
            "is not finite": not (math.isfinite(start_s) and math.isfinite(end_s)),
            "starts before 0": start_s < 0,
            "is reversed or empty": end_s <= start_s,
            f"ends after the utterance ({duration_s:.3f} s)": end_s > duration_s + TOLERANCE_S,
        }
        if fault := next((reason for reason, found in faults.items() if found), None):
            raise DataError(f"interval {label!r} at {start_s:.3f}-{end_s:.3f} s {fault}")
    for before, after in pairwise(ordered):
        if after.start_s < before.end_s - _EPSILON_S:
            names = f"{before.label!r} (to {before.end_s:.3f} s) and {after.label!r} (from {after.start_s:.3f} s)"
            raise DataError(f"intervals {names} overlap")
    cut = (interval._replace(end_s=min(interval.end_s, duration_s)) for interval in ordered)
    return [interval for interval in cut if interval.end_s > interval.start_s]


def relabel(intervals: Iterable[Interval], rename: Callable[[str], str]) -> list[Interval]:
    return [interval._replace(label=rename(interval.label)) for interval in intervals]


def fill_gaps(intervals: Sequence[Interval], duration_s: float) -> list[Interval]:
    """Tile [0, duration_s] with checked intervals: gaps become silence, and neighbouring silences one."""
    pieces: list[Interval] = []
    at = 0.0
    for interval in [*intervals, Interval(duration_s, duration_s, SILENCE)]:
        if interval.start_s > at + _EPSILON_S:
            pieces.append(Interval(at, interval.start_s, SILENCE))
        pieces.append(interval)
        at = max(at, interval.end_s)
    tiled: list[Interval] = []
    for piece in pieces[:-1]:  # the last one only marks the end
        if tiled and tiled[-1].label == piece.label == SILENCE:
            tiled[-1] = tiled[-1]._replace(end_s=piece.end_s)
        else:
            tiled.append(piece)
    return tiled


def spoken_words(text: str) -> list[str]:
    """One entry per token of `text.split()`: lower case, without punctuation around it; empty for a lone dash."""
    return [_EDGES.sub("", token.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")) for token in text.split()]
