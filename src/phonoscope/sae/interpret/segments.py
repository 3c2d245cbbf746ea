"""Phone segments: the runs of frames that carry one phone."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray


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
