from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.probes.tables import ClassTable, ValueTable

SIZE = 5
NAMES = ["S", "AA", "ZH", "B"]  # unsorted on purpose
frame = st.tuples(st.integers(0, SIZE - 1), st.integers(0, len(NAMES) - 1))
voiced = st.tuples(st.integers(0, SIZE - 1), st.floats(50, 500))


def class_table(frames: list[tuple[int, int]]) -> ClassTable:
    codes, labels = np.array(frames, dtype=np.int64).reshape(-1, 2).T
    present, dense = np.unique(labels, return_inverse=True)
    return ClassTable.from_frames(codes, dense, [NAMES[i] for i in present], SIZE)


def value_table(frames: list[tuple[int, float]]) -> ValueTable:
    codes = np.array([code for code, _ in frames], dtype=np.int64)
    return ValueTable.from_frames(codes, np.array([value for _, value in frames], dtype=np.float64), SIZE)


@given(st.lists(frame, min_size=1), st.lists(frame, min_size=1))
def test_class_tables_of_parts_sum_to_the_table_of_the_whole(
    first: list[tuple[int, int]], second: list[tuple[int, int]]
) -> None:
    brute = np.zeros((SIZE, len(NAMES)), dtype=np.int64)
    for code, label in first + second:
        brute[code, label] += 1
    whole, added = class_table(first + second), class_table(first) + class_table(second)
    assert whole.classes == added.classes == tuple(sorted({NAMES[label] for _, label in first + second}))
    np.testing.assert_array_equal(whole.counts, added.counts)
    np.testing.assert_array_equal(whole.counts, brute[:, [NAMES.index(name) for name in whole.classes]])
    np.testing.assert_array_equal(whole.frames, brute.sum(axis=1))


@given(st.lists(voiced), st.lists(voiced))
def test_value_tables_of_parts_sum_to_the_table_of_the_whole(
    first: list[tuple[int, float]], second: list[tuple[int, float]]
) -> None:
    brute = np.zeros((3, SIZE))
    for code, value in first + second:
        brute[:, code] += 1, value, value**2
    whole, added = value_table(first + second), value_table(first) + value_table(second)
    for table in (whole, added):
        np.testing.assert_array_equal(table.count, brute[0])
        np.testing.assert_allclose(table.total, brute[1], rtol=1e-12)
        np.testing.assert_allclose(table.squares, brute[2], rtol=1e-12)


def test_reindex_refuses_to_drop_a_class() -> None:
    with pytest.raises(KeyError, match="AA"):
        class_table([(0, 1), (1, 2)]).reindex(("ZH",))


def test_trainable_needs_two_classes_with_frames() -> None:
    one = class_table([(0, 1), (3, 1)])
    assert not one.reindex(("AA", "B")).trainable
    assert (one + class_table([(0, 2)])).trainable
    assert not value_table([]).trainable
    assert value_table([(1, 100.0)]).trainable
