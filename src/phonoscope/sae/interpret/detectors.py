"""Phone detectors from arrays: the feature that tells each phone from the others, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from phonoscope.compute import derive_seed
from phonoscope.data.phones import SILENCE
from phonoscope.errors import DataError
from phonoscope.sae.interpret.groups import group
from phonoscope.sae.interpret.selectivity import phone_table, selectivity
from phonoscope.sae.interpret.windows import segment_maxima, segment_starts
from phonoscope.stats import Array, Interval, jackknife

MOST_GROUPS = 100  # groups of utterances that are left out in turn: more would only take time


def phone_detectors(
    activations: NDArray[Any] | sp.csr_array,
    phones: Sequence[str] | NDArray[Any],
    utterances: Sequence[Any] | NDArray[Any],
    *,
    train: NDArray[np.bool_] | None = None,
    min_segments: int = 10,
    confidence: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """The best detector of every phone by the area under the ROC curve (AUROC), over phone segments.

    A segment is a run of frames with one phone; its score is the feature's highest activation. The detector is chosen
    on some utterances and scored on the others.

    Args:
        activations: [frames, features], dense or sparse, not negative; frames of an utterance in order.
        phones: phone of each frame [frames]; `SIL` and empty ones are left out.
        utterances: utterance of each frame [frames].
        train: frames on which detectors are chosen [frames]; otherwise those of a random half of the utterances.
        min_segments: rarer phones, on either side, are left out.
        confidence: coverage of the jackknife intervals over the scored utterances.
        seed: of the random half.
    Returns: phone, feature, auroc, low, high, auroc_train, segments, density; the best first.
    Raises: `DataError` for arrays of different lengths, or one utterance alone.
    """
    matrix: Any = sp.csr_array(activations).astype(np.float32)
    labels, unit = np.asarray(phones, dtype=str), np.unique(np.asarray(utterances), return_inverse=True)[1]
    if not matrix.shape[0] == len(labels) == len(unit):
        raise DataError(f"{matrix.shape[0]} frames, but {len(labels)} phones and {len(unit)} utterances")
    if train is None:
        train = np.isin(unit, np.random.default_rng(derive_seed(seed, "train")).permutation(unit.max() + 1)[::2])
    if train.all() or not train.any():
        raise DataError("detectors are chosen on some utterances and scored on others; give at least two")
    starts = segment_starts(pd.DataFrame({"utterance": unit, "frame": np.arange(len(unit)), "phone": labels}))
    peaks, on_train = segment_maxima(matrix, starts), train[starts]
    groups = group(labels.tolist(), leave_out=("", SILENCE)).of(starts)
    areas = selectivity(peaks, groups, on_train, fewest=min_segments)
    density = np.asarray(matrix.count_nonzero(axis=0)) / matrix.shape[0]
    table = phone_table(areas, np.zeros(len(areas.phones)), density).query("scored").reset_index(drop=True)
    held_out = ~on_train & (groups.code >= 0)
    scores, code = peaks[held_out].tocsc(), groups.code[held_out]
    owner = np.unique(unit[starts][held_out], return_inverse=True)[1]
    bounds = []
    for phone, feature, area in zip(table["phone"], table["feature"], table["auroc"], strict=True):
        data = scores[:, [feature]].toarray().ravel(), code == groups.names.index(phone), owner
        bounds.append(auroc_interval(*data, area, confidence))
    table["low"], table["high"] = [bound.low for bound in bounds], [bound.high for bound in bounds]
    table["segments"] = table["eval_segments"]
    return table[["phone", "feature", "auroc", "low", "high", "auroc_train", "segments", "density"]]


def auroc_interval(
    scores: NDArray[np.floating],
    positive: NDArray[np.bool_],
    units: NDArray[np.int64],
    area: float,
    confidence: float,
) -> Interval:
    """Interval of an AUROC `area` of scores [n] over units (codes from 0, such as utterances).

    The jackknife leaves out one unit at a time, or one of 100 groups of units, on the scale -log(1 - area): near 1 the
    area itself is far from normal. An area of 1 varies with no unit; its lower bound is the exact binomial one for as
    many successes as there are units with a positive.
    """
    if area == 1:
        return Interval(area, ((1 - confidence) / 2) ** (1 / len(np.unique(units[positive]))), 1.0)
    bounds = jackknife(area, left_out_areas(scores, positive, units % MOST_GROUPS), confidence, "unexplained")
    return bounds._replace(low=max(bounds.low, 0.0), high=min(bounds.high, 1.0))


def left_out_areas(scores: NDArray[np.floating], positive: NDArray[np.bool_], groups: NDArray[np.int64]) -> Array:
    """AUROC of scores [n] without each group (codes from 0): [groups]; NaN where no positive or no negative is left."""
    # pairs of a positive and a negative, each won, lost, or half won: those of a group are its positives' pairs with
    # all negatives and its negatives' with all positives, less the pairs within it, which that counts twice
    rank = np.unique(scores, return_inverse=True)[1]
    first = groups * (int(rank.max()) + 1)  # ranks of one group lie apart from those of another
    negatives, positives, own = (np.sort(r) for r in (rank[~positive], rank[positive], (first + rank)[~positive]))
    wins = _below(rank[positive], negatives)
    beaten = len(positives) - _below(rank[~positive], positives)
    within = _below((first + rank)[positive], own) - np.searchsorted(own, first[positive])
    size = int(groups.max()) + 1
    won = wins.sum() - np.bincount(groups[positive], wins - within, size) - np.bincount(groups[~positive], beaten, size)
    pairs = np.prod([side.sum() - np.bincount(groups[side], minlength=size) for side in (positive, ~positive)], axis=0)
    return np.divide(won, pairs, out=np.full(size, np.nan), where=pairs > 0)


def _below(values: NDArray[np.int64], ascending: NDArray[np.int64]) -> Array:
    """How many of `ascending` each value exceeds; ties count half."""
    return (np.searchsorted(ascending, values) + np.searchsorted(ascending, values, side="right")) / 2
