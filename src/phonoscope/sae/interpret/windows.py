"""Windows in which a feature is most active."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    import scipy.sparse as sp
    from numpy.typing import NDArray


def top_windows(
    activations: sp.csr_array,
    utterance: NDArray[np.int64],
    frame: NDArray[np.int64],
    *,
    k: int,
    apart: int,
    per_utterance: int,
) -> pd.DataFrame:
    """The k highest frames of every feature, `apart` frames from each other where they share an utterance.

    Each block of `apart` frames offers its highest frame; the offers are taken from the highest down, of equal values
    the earlier row first.

    Args:
        activations: [frames, features], not negative.
        utterance: code of each frame's utterance, [frames]; the rows of an utterance follow each other.
        frame: number of each frame within its utterance, [frames], ascending.
    Returns: feature, rank (from 1), row and value; fewer than k rows where a feature fires in fewer windows.
    """
    feature, row, value = _block_maxima(activations, utterance, frame // apart)
    order = np.lexsort((row, -value, feature))
    feature, row, value = feature[order], row[order], value[order]
    edges = np.searchsorted(feature, np.arange(activations.shape[1] + 1))
    chosen: list[int] = []
    rank: list[int] = []
    for first, last in pairwise(edges):
        offers = row[first:last]
        taken = _spread(utterance[offers].tolist(), frame[offers].tolist(), k=k, apart=apart, most=per_utterance)
        chosen += [int(first) + offer for offer in taken]
        rank += range(1, len(taken) + 1)
    return pd.DataFrame(
        {
            "feature": feature[chosen].astype(np.int32),
            "rank": np.array(rank, dtype=np.int32),
            "row": row[chosen],
            "value": value[chosen],
        }
    )


def _block_maxima(
    activations: sp.csr_array, utterance: NDArray[np.int64], block: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Feature, row and value of the highest frame of every block in which a feature fires, the first of equals."""
    columns = activations.tocsc()
    columns.eliminate_zeros()
    columns.sort_indices()
    new = np.r_[True, (np.diff(utterance) != 0) | (np.diff(block) != 0)] if len(block) else np.zeros(0, dtype=bool)
    row = columns.indices.astype(np.int64)
    feature = np.repeat(np.arange(columns.shape[1]), np.diff(columns.indptr))
    piece = np.cumsum(new)[row]
    starts = np.flatnonzero(np.r_[True, (np.diff(piece) != 0) | (np.diff(feature) != 0)][: len(row)])
    if not len(starts):
        return feature, row, columns.data
    highest = np.maximum.reduceat(columns.data, starts)
    owner = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(row)]))
    at_top = np.flatnonzero(columns.data == highest[owner])
    first = at_top[np.unique(owner[at_top], return_index=True)[1]]
    return feature[first], row[first], columns.data[first]


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


def traces(
    activations: sp.csr_array,
    utterance: NDArray[np.int64],
    frame: NDArray[np.int64],
    windows: pd.DataFrame,
    *,
    reach: int,
) -> NDArray[np.float32]:
    """Activation of each window's feature from `reach` frames before its highest frame to `reach` after it.

    Returns: [windows, 2 * reach + 1], 0 where the utterance has no such frame.
    """
    trace = np.zeros((len(windows), 2 * reach + 1), dtype=np.float32)
    for column, row, there in _neighbours(utterance, frame, windows["row"].to_numpy(), reach):
        trace[there, column] = _entries(activations, row, windows["feature"].to_numpy()[there])
    return trace


def _neighbours(
    utterance: NDArray[np.int64], frame: NDArray[np.int64], rows: NDArray[np.int64], reach: int
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.bool_]]]:
    """For every offset: its column, the rows at the offset, and the windows that have one."""
    span = int(frame.max(initial=0)) + 2 * reach + 1  # wide enough to keep utterances apart
    key = utterance * span + frame
    for column in range(2 * reach + 1):
        wanted = utterance[rows] * span + frame[rows] + column - reach
        position = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
        there = key[position] == wanted
        yield column, position[there], there


def _entries(activations: sp.csr_array, row: NDArray[np.int64], feature: NDArray[np.int32]) -> NDArray[np.float32]:
    if not len(row):
        return np.zeros(0, dtype=np.float32)
    return np.asarray(activations[row, feature]).ravel()
