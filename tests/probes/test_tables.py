from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.probes.tables import ClassTable, ValueTable

SIZE = 5
NAMES = ["S", "AA", "ZH", "B"]  # unsorted on purpose


@given(st.lists(st.tuples(st.integers(0, SIZE - 1), st.integers(0, len(NAMES) - 1)), min_size=1))
def test_class_tables_count_frames_under_sorted_names(frames: list[tuple[int, int]]) -> None:
    codes, labels = np.array(frames, dtype=np.int64).T
    table = ClassTable.from_frames(codes, labels, NAMES, SIZE)
    brute = np.zeros((SIZE, len(NAMES)), dtype=np.int64)
    np.add.at(brute, (codes, labels), 1)
    assert table.classes == tuple(sorted(NAMES))
    np.testing.assert_array_equal(table.counts, brute[:, [NAMES.index(name) for name in table.classes]])


@given(st.lists(st.tuples(st.integers(0, SIZE - 1), st.floats(50, 500))))
def test_value_tables_sum_frames(frames: list[tuple[int, float]]) -> None:
    codes = np.array([code for code, _ in frames], dtype=np.int64)
    table = ValueTable.from_frames(codes, np.array([value for _, value in frames]), SIZE)
    brute = np.zeros((3, SIZE))
    for code, value in frames:
        brute[:, code] += 1, value, value**2
    np.testing.assert_array_equal(table.count, brute[0])
    np.testing.assert_allclose(table.total, brute[1], rtol=1e-12)
    np.testing.assert_allclose(table.squares, brute[2], rtol=1e-12)
