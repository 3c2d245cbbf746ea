from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from phonoscope.sae.interpret.windows import segment_maxima, segment_starts, top_windows, traces


def find(values: np.ndarray, utterance: list[int], frame: list[int], **options: int) -> list[list[float]]:
    settings = {"k": 3, "apart": 5, "per_utterance": 2} | options
    places = np.array(utterance), np.array(frame, dtype=np.int64)
    table = top_windows(sp.csr_array(values.astype(np.float32)), places, **settings)
    return table[["feature", "rank", "row", "value"]].to_numpy().tolist()


def column(*values: float) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)[:, None]


def test_windows_of_one_utterance_keep_their_distance_and_are_few() -> None:
    values = column(*range(20, 0, -1))
    frames = list(range(20))
    assert [row[2] for row in find(values, [0] * 20, frames, per_utterance=9)] == [0, 5, 10]
    assert [row[2] for row in find(values, [0] * 20, frames, per_utterance=1)] == [0]
    neighbours = column(0, 0, 0, 0, 9, 8, 0, 0, 0, 0)
    assert [row[2] for row in find(neighbours, [0] * 10, frames[:10])] == [4]
    assert find(column(1, 2, 2), [0, 0, 0], [0, 1, 2], k=1) == [[0, 1, 1, 2.0]]  # of equal values the earlier row


def test_missing_frames_and_dead_features() -> None:
    values = np.array([[0, 1], [0, 2], [0, 0]], dtype=np.float32)
    assert find(values, [0, 0, 0], [0, 30, 60], per_utterance=3) == [[1, 1, 1, 2.0], [1, 2, 0, 1.0]]
    assert find(np.zeros((3, 2)), [0, 0, 0], [0, 1, 2]) == []


@pytest.mark.parametrize("seed", range(3))
def test_top_is_brute_forces(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.ceil(rng.random((60, 5)) * 6) * (rng.random((60, 5)) < 0.4)
    rows = find(values, list(range(60)), [0] * 60, k=7)
    for feature in range(5):
        order = sorted(np.flatnonzero(values[:, feature]).tolist(), key=lambda row: (-values[row, feature], row))[:7]
        assert [row[2] for row in rows if row[0] == feature] == order


def test_traces_are_silent_beyond_the_utterance_and_in_gaps() -> None:
    values = sp.csr_array(column(1, 2, 3, 4, 5, 6))
    places = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 1, 2, 0, 2, 3], dtype=np.int64)
    table = top_windows(values, places, k=2, apart=4, per_utterance=1)
    assert table["row"].tolist() == [5, 2]
    assert traces(values, places, table, reach=2).tolist() == [[0, 5, 6, 0, 0], [1, 2, 3, 0, 0]]


def test_segments_end_at_phones_utterances_and_gaps() -> None:
    index = pd.DataFrame({"utterance": list("aaaaabbb"), "frame": [0, 1, 2, 4, 5, 0, 1, 2], "phone": list("SSTTTTSS")})
    assert segment_starts(index).tolist() == [0, 2, 3, 5, 6]
    assert segment_starts(index[:0]).tolist() == []


def test_maxima_are_those_of_the_dense_array() -> None:
    rng = np.random.default_rng(0)
    values = (rng.random((50, 7)) * (rng.random((50, 7)) < 0.3)).astype(np.float32)
    starts = np.array([0, 3, 4, 20, 49])
    expected = np.maximum.reduceat(values, starts)
    assert np.array_equal(segment_maxima(sp.csr_array(values), starts).toarray(), expected)
    silent = sp.csr_array(np.zeros((50, 7), dtype=np.float32))
    assert segment_maxima(silent, starts).nnz == 0
