from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.data.labels import Interval, frame_labels


def brute_force(intervals: list[tuple[int, int, str]], n_frames: int, rate: int) -> list[str]:
    """O(n^2), in exact arithmetic; interval bounds in milliseconds."""
    labels = []
    for i in range(n_frames):
        best, label = Fraction(0), "SIL"
        for start, end, name in sorted(intervals, key=lambda interval: interval[:2]):
            overlap = min(Fraction(end, 1000), Fraction(i + 1, rate)) - max(Fraction(start, 1000), Fraction(i, rate))
            if overlap > best:
                best, label = overlap, name
        labels.append(label)
    return labels


def label(intervals: list[tuple[int, int, str]], n_frames: int, rate: float) -> list[str]:
    return frame_labels([Interval(s / 1000, e / 1000, name) for s, e, name in intervals], n_frames, rate).tolist()


@pytest.mark.parametrize(
    ("intervals", "n_frames", "expected"),
    [
        pytest.param([], 3, ["SIL"] * 3, id="no intervals"),
        pytest.param([(0, 100, "AA")], 0, [], id="no frames"),
        pytest.param([(0, 60, "AA")], 3, ["AA"] * 3, id="one interval spans several frames"),
        pytest.param([(0, 20, "AA"), (20, 40, "B")], 2, ["AA", "B"], id="a boundary that is touched is no overlap"),
        pytest.param([(0, 13, "AA"), (13, 20, "B")], 1, ["AA"], id="the larger overlap wins"),
        pytest.param([(0, 5, "AA"), (5, 20, "B")], 1, ["B"], id="also if it comes later"),
        pytest.param([(0, 10, "AA"), (10, 20, "B")], 1, ["AA"], id="the earlier of equal overlaps wins"),
        pytest.param([(20, 40, "B"), (0, 20, "AA")], 2, ["AA", "B"], id="unsorted"),
        pytest.param([(5, 6, "AA")], 1, ["AA"], id="a short interval beats no interval"),
        pytest.param([(0, 6, "AA"), (6, 14, "B"), (14, 20, "AA")], 1, ["B"], id="one phone's pieces are not added up"),
        pytest.param([(100, 200, "AA")], 2, ["SIL", "SIL"], id="after the last frame"),
    ],
)
def test_cases(intervals: list[tuple[int, int, str]], n_frames: int, expected: list[str]) -> None:
    assert label(intervals, n_frames, 50) == expected
    assert brute_force(intervals, n_frames, 50) == expected


@given(
    raw=st.lists(st.tuples(st.integers(0, 1300), st.integers(1, 80)), max_size=40, unique=True),
    n_frames=st.integers(0, 130),
    rate=st.sampled_from([50, 75, 86, 100]),
    data=st.data(),
)
def test_equals_brute_force(raw: list[tuple[int, int]], n_frames: int, rate: int, data: st.DataObject) -> None:
    """Intervals may overlap, leave gaps and come in any order."""
    intervals = [(start, start + length, f"P{index}") for index, (start, length) in enumerate(raw)]
    expected = brute_force(intervals, n_frames, rate)
    assert label(intervals, n_frames, rate) == expected
    assert label(data.draw(st.permutations(intervals)), n_frames, rate) == expected
