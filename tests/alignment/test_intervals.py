from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.alignment.intervals import check_intervals, fill_gaps, spoken_words
from phonoscope.data.labels import Interval
from phonoscope.errors import DataError


@pytest.mark.parametrize(
    ("intervals", "reason"),
    [
        ([Interval(0.5, 0.2, "AA")], "'AA' at 0.500-0.200 s is reversed or empty"),
        ([Interval(0.5, 0.5, "AA")], "reversed or empty"),
        ([Interval(-0.1, 0.2, "AA")], "starts before 0"),
        ([Interval(0.0, 1.2, "AA")], r"ends after the utterance \(1.000 s\)"),
        ([Interval(0.0, math.nan, "AA")], "not finite"),
        ([Interval(0.0, 0.5, "AA"), Interval(0.4, 0.8, "B")], "'AA' .* and 'B' .* overlap"),
        ([Interval(0.4, 0.8, "B"), Interval(0.0, 0.5, "AA")], "overlap"),
    ],
)
def test_refused(intervals: list[Interval], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        check_intervals(intervals, 1.0)


def test_sorts_and_cuts_what_an_aligner_rounds_over_the_end() -> None:
    intervals = [Interval(0.5, 1.02, "B"), Interval(0.0, 0.5, "AA"), Interval(1.02, 1.03, "SIL")]
    assert check_intervals(intervals, 1.0) == [Interval(0.0, 0.5, "AA"), Interval(0.5, 1.0, "B")]


@given(st.lists(st.integers(0, 1000), max_size=20, unique=True).map(sorted), st.data())
def test_fill_gaps_tiles_the_utterance(bounds: list[int], data: st.DataObject) -> None:
    kept = [(a, b) for a, b in pairwise(bounds) if data.draw(st.booleans())]
    intervals = [Interval(a / 1000, b / 1000, data.draw(st.sampled_from(["AA", "SIL"]))) for a, b in kept]
    filled = fill_gaps(intervals, 1.0)
    assert filled[0].start_s == 0.0
    assert filled[-1].end_s == 1.0
    assert all(a.end_s == b.start_s and a.end_s > a.start_s for a, b in pairwise(filled))
    assert not any(a.label == b.label == "SIL" for a, b in pairwise(filled))
    assert [i for i in filled if i.label == "AA"] == [i for i in intervals if i.label == "AA"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("  ", []), ("“Don’t” — She said…", ["don't", "", "she", "said"]), ("well-known (yes)", ["well-known", "yes"])],
)
def test_a_transcript_has_one_entry_per_token(text: str, words: list[str]) -> None:
    assert spoken_words(text) == words
