"""Phone segments: the runs of frames that carry one phone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

if TYPE_CHECKING:
    from numpy.typing import NDArray


def segment_starts(index: pd.DataFrame) -> NDArray[np.int64]:
    """The first row of every run of frames of one utterance and phone, [segments]. Columns: utterance, frame, phone."""
    utterance, phone = (pd.factorize(index[column])[0] for column in ("utterance", "phone"))
    gap = np.diff(index["frame"].to_numpy(np.int64)) != 1
    return np.flatnonzero(np.r_[len(index) > 0, (np.diff(utterance) != 0) | (np.diff(phone) != 0) | gap][: len(index)])


def segment_maxima(activations: sp.csr_array, starts: NDArray[np.int64]) -> sp.csr_array:
    """The highest activation of every feature within every segment, [segments, features]; activations not negative."""
    frames, features = activations.shape
    lengths = np.diff(np.r_[starts, frames])
    owner = np.repeat(np.arange(len(starts)), lengths)
    row = np.repeat(owner, np.diff(activations.indptr))
    cell = row * features + activations.indices
    order = np.argsort(cell, kind="stable")
    cells, first = np.unique(cell[order], return_index=True)
    highest = np.maximum.reduceat(activations.data[order], first) if len(first) else activations.data
    return sp.csr_array((highest, (cells // features, cells % features)), shape=(len(starts), features))
