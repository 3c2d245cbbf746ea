"""Intervals by the jackknife: a score is computed again without each speaker, from the clips that are left."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonoscope.stats import Array, Scale, jackknife

MOST_GROUPS = 50  # more speakers than these are left out in groups
Bounds = tuple[float | None, float | None]
NO_INTERVAL: Bounds = (None, None)


def speaker_groups(speakers: NDArray[Any]) -> NDArray[np.int64]:
    """The group of every clip, [n], counted from 0: a group a speaker, or 50 groups of speakers where there are more.

    A clip's score depends on the clips of other speakers, so the mean over speakers has no independent summands, and
    only a score that is computed again without a group shows how much the group decides.
    """
    return np.unique(speakers, return_inverse=True)[1] % MOST_GROUPS


def means_without(values: Array, groups: NDArray[np.int64]) -> Array:
    """The mean of values [n] that do not depend on other speakers, without each group, [groups]; NaN if none is left.

    Groups are those of `speaker_groups`.
    """
    totals, counts = np.bincount(groups, weights=values), np.bincount(groups)
    with np.errstate(invalid="ignore"):
        return (totals.sum() - totals) / (counts.sum() - counts)


def bounds(value: float, left_out: Array, confidence: float, scale: Scale = "linear") -> Bounds:
    """The jackknife interval of a score from its values without each group, [groups].

    None for fewer than three groups, and where the score is not defined without one of them: that group's part in the
    variance is unknown.
    """
    if len(left_out) < 3 or not np.isfinite(left_out).all():
        return NO_INTERVAL
    interval = jackknife(value, left_out, confidence, scale)
    return interval.low, interval.high
