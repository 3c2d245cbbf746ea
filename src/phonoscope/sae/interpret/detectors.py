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
from phonoscope.stats import Interval, draw_resamples, interval

CHUNK = 2**24  # entries of resampled weights at once


def phone_detectors(
    activations: NDArray[Any] | sp.csr_array,
    phones: Sequence[str] | NDArray[Any],
    utterances: Sequence[Any] | NDArray[Any],
    *,
    train: NDArray[np.bool_] | None = None,
    min_segments: int = 10,
    samples: int = 1000,
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
        samples, confidence, seed: bootstrap over the scored utterances.
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
        settings: dict[str, Any] = {"samples": samples, "confidence": confidence, "seed": derive_seed(seed, phone)}
        bounds.append(auroc_interval(*data, area, **settings))
    table["low"], table["high"] = [bound.low for bound in bounds], [bound.high for bound in bounds]
    table["segments"] = table["eval_segments"]
    return table[["phone", "feature", "auroc", "low", "high", "auroc_train", "segments", "density"]]


def auroc_interval(
    scores: NDArray[np.floating],
    positive: NDArray[np.bool_],
    units: NDArray[np.int64],
    area: float,
    *,
    samples: int,
    confidence: float,
    seed: int,
) -> Interval:
    """Bootstrap interval of an AUROC `area` of scores [n] over units (codes from 0, such as utterances)."""
    # sorted once: a resample only changes how often each unit's entries count
    order = np.argsort(scores, kind="stable")
    ranked, is_positive, owner = scores[order], positive[order], units[order]
    ties = np.flatnonzero(np.r_[True, np.diff(ranked) != 0])
    draws = draw_resamples(int(units.max()) + 1, samples, seed)
    areas = []
    for part in np.array_split(draws, max(1, samples * len(scores) // CHUNK)):
        weights = part[:, owner]
        above, below = (np.add.reduceat(weights * side, ties, axis=1) for side in (is_positive, ~is_positive))
        # pairs won: negatives below a positive, and half of those tied with it
        won = (above * (below.cumsum(axis=1) - below / 2)).sum(axis=1)
        pairs = above.sum(axis=1) * below.sum(axis=1)  # none in a resample without positives or negatives
        areas.append(np.divide(won, pairs, out=np.full(len(part), np.nan), where=pairs > 0))
    return interval(area, np.concatenate(areas), confidence)
