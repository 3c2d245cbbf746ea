"""Windows in which a feature is most active, and phone segments: the runs of frames that carry one phone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

Places = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Code of each frame's utterance, whose rows follow each other, and its number therein, ascending: [frames] each."""


def top_windows(activations: sp.csr_array, places: Places, *, k: int, apart: int, per_utterance: int) -> pd.DataFrame:
    """The k highest frames of every feature, `apart` frames from each other where they share an utterance.

    Each block of `apart` frames offers its highest frame; the offers are taken from the highest down, of equal values
    the earlier row first. activations: [frames, features], not negative. Returns: feature, rank (from 1), row and
    value; fewer than k rows where a feature fires in fewer windows.
    """
    utterance, frame = places
    columns = activations.tocsc()
    columns.eliminate_zeros()
    columns.sort_indices()
    row, value = columns.indices.astype(np.int64), columns.data
    feature = np.repeat(np.arange(columns.shape[1]), np.diff(columns.indptr))
    order = np.lexsort((-value, feature))  # stable: of equal values the earlier row first
    # sorted like this, the first entry of a feature in a block is the block's highest frame
    blocks = int(frame.max(initial=0)) // apart + 1
    block = utterance * blocks + frame // apart
    cell = feature * (int(block.max(initial=0)) + 1) + block[row]
    offers = order[~pd.Series(cell[order]).duplicated().to_numpy()]
    feature, row, value = feature[offers], row[offers], value[offers]
    chosen: list[int] = []
    rank: list[int] = []
    for first, last in pairwise(np.searchsorted(feature, np.arange(columns.shape[1] + 1)).tolist()):
        offered = row[first:last]
        taken = _spread(utterance[offered].tolist(), frame[offered].tolist(), k=k, apart=apart, most=per_utterance)
        chosen += [first + offer for offer in taken]
        rank += range(1, len(taken) + 1)
    top = {"feature": feature[chosen].astype(np.int32), "rank": np.array(rank, dtype=np.int32)}
    return pd.DataFrame({**top, "row": row[chosen], "value": value[chosen]})


def _spread(utterances: Sequence[int], frames: Sequence[int], *, k: int, apart: int, most: int) -> list[int]:
    """Positions of the first k offers that keep their distance within an utterance and take at most `most` of it."""
    taken: list[int] = []
    used: dict[int, list[int]] = {}
    for position, (utterance, frame) in enumerate(zip(utterances, frames, strict=True)):
        there = used.setdefault(utterance, [])
        if len(there) < most and all(abs(frame - other) >= apart for other in there):
            there.append(frame)
            taken.append(position)
            if len(taken) == k:
                break
    return taken


def traces(activations: sp.csr_array, places: Places, windows: pd.DataFrame, *, reach: int) -> NDArray[np.float32]:
    """Activation of each window's feature from `reach` frames before its highest frame to `reach` after it.

    Returns: [windows, 2 * reach + 1], 0 where the utterance has no such frame.
    """
    # one ascending number a frame, with gaps between utterances that are wider than a window: a frame that is missing,
    # or beyond an edge, has a number that does not occur
    utterance, frame = places
    key = utterance * (int(frame.max(initial=0)) + 2 * reach + 1) + frame
    trace = np.zeros((len(windows), 2 * reach + 1), dtype=np.float32)
    if not len(windows):
        return trace
    wanted = key[windows["row"].to_numpy()][:, None] + np.arange(-reach, reach + 1)
    row = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
    there = key[row] == wanted
    feature = np.broadcast_to(windows["feature"].to_numpy()[:, None], there.shape)
    trace[there] = np.asarray(activations[row[there], feature[there]]).ravel()
    return trace


def segment_starts(index: pd.DataFrame) -> NDArray[np.int64]:
    """The first row of every run of frames of one utterance and phone, [segments]. Columns: utterance, frame, phone."""
    utterance, phone = (pd.factorize(index[column])[0] for column in ("utterance", "phone"))
    gap = np.diff(index["frame"].to_numpy(np.int64)) != 1
    return np.flatnonzero(np.r_[len(index) > 0, (np.diff(utterance) != 0) | (np.diff(phone) != 0) | gap][: len(index)])


def segment_maxima(activations: sp.csr_array, starts: NDArray[np.int64]) -> sp.csr_array:
    """The highest activation of every feature within every segment, [segments, features]; activations not negative."""
    frames, features = activations.shape
    owner = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, frames]))
    cell = np.repeat(owner, np.diff(activations.indptr)) * features + activations.indices
    highest = pd.Series(activations.data).groupby(cell).max()  # of the entries alone: none is below a missing one's 0
    cells = highest.index.to_numpy()
    return sp.csr_array((highest.to_numpy(), (cells // features, cells % features)), shape=(len(starts), features))
