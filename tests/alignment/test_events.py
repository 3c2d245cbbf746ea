from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from phonoscope.alignment.events import align_events
from phonoscope.data.labels import Alignment, Interval
from phonoscope.errors import DataError
from phonoscope.events import PhoneEvent

from .spoken import labels, speak

RATE = 16_000
Event = tuple[int, int, str, int]


def align(events: list[Event], text: str = "word", accent: str = "en-us", quiet: tuple[int, int] = (0, 0)) -> Alignment:
    """Milliseconds in; the audio is a second of a tone except where it is quiet."""
    samples = np.sin(np.arange(RATE) * 0.3).astype(np.float32)
    samples[quiet[0] * RATE // 1000 : quiet[1] * RATE // 1000] *= 0.05
    spoken = [PhoneEvent(s / 1000, e / 1000, name, w) for s, e, name, w in events]
    return align_events(spoken, text, accent, samples, RATE)


def rounded(intervals: list[Interval]) -> list[tuple[int, int, str]]:
    return [(round(1000 * i.start_s), round(1000 * i.end_s), i.label) for i in intervals]


def test_gaps_and_pauses_are_silence() -> None:
    alignment = align([(10, 110, "m", 0), (110, 210, "'i:", 0), (210, 400, "_:", -1), (400, 1000, "_", -1)], "me")
    assert rounded(alignment.phones) == [(0, 10, "SIL"), (10, 110, "M"), (110, 210, "IY"), (210, 1000, "SIL")]
    assert rounded(alignment.words) == [(10, 210, "me")]


def test_an_event_of_two_phones_is_split_by_weight_and_one_of_none_joins_the_phone_before() -> None:
    assert rounded(align([(0, 300, "'A@", 0)]).phones)[:2] == [(0, 200, "AA"), (200, 300, "R")]
    assert rounded(align([(0, 300, "@L", 0)]).phones)[:2] == [(0, 150, "AH"), (150, 300, "L")]
    assert rounded(align([(0, 300, "aI@", 0)]).phones)[:2] == [(0, 200, "AY"), (200, 300, "AH")]
    once = align([(0, 300, "'A@", 0), (300, 400, "r", 0), (400, 500, "i", 0)])  # r is not spoken twice
    assert rounded(once.phones)[:3] == [(0, 300, "AA"), (300, 400, "R"), (400, 500, "IY")]
    glide = align([(0, 100, "i", 0), (100, 140, ";", 0), (140, 240, "I", 0)])
    assert rounded(glide.phones)[:2] == [(0, 140, "IY"), (140, 240, "IH")]


def test_an_event_without_length_shares_the_one_before() -> None:
    will = align([(0, 100, "w", 0), (100, 250, "'I", 0), (250, 250, "l", 0), (250, 250, "_", -1)])
    assert rounded(will.phones)[:3] == [(0, 100, "W"), (100, 200, "IH"), (200, 250, "L")]
    are = align([(0, 300, "'A@", 0), (300, 300, "r", 0), (300, 400, "z", 0)], accent="en-gb-scotland")
    assert rounded(are.phones)[:3] == [(0, 200, "AA"), (200, 300, "R"), (300, 400, "Z")]


def test_the_closure_goes_to_the_stop() -> None:
    events: list[Event] = [(0, 200, "'a", 0), (200, 260, "t", 0), (260, 400, "s", 0)]
    for quiet, start in {(150, 200): 150, (150, 197): 150, (0, 0): 200, (20, 200): 100, (230, 260): 200}.items():
        expected = [(0, start, "AE"), (start, 260, "T"), (260, 400, "S")]
        assert rounded(align(events, quiet=quiet).phones)[:3] == expected


def test_merged_words_share_an_interval() -> None:
    events: list[Event] = [(0, 100, "V", 1), (100, 200, "v", 1), (200, 300, "@2", 1)]
    events += [(300, 400, "_", -1), (400, 600, "i:", 4)]
    alignment = align(events, "“Out of the, blue — sea!”")
    assert rounded(alignment.words) == [(0, 300, "out of the blue"), (400, 600, "sea")]


@pytest.mark.parametrize(
    ("events", "reason"),
    [
        ([], "no phone events"),
        ([(0, 100, "_:", -1), (100, 100, "_", -1)], "only pauses"),
        ([(0, 100, "y:", 0)], "symbol 'y:'"),
        ([(0, 100, "i:", 3)], "word 3, but the text has 1 word"),
        ([(0, 100, "i:", 0), (50, 200, "m", 0)], "overlap"),
        ([(900, 1200, "i:", 0)], "ends after the utterance"),
    ],
)
def test_refused(events: list[Event], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        align(events)


@pytest.mark.parametrize(
    ("text", "by_accent"),
    [
        ("seven", {"en-us": "S EH V AH N"}),
        ("father", {"en-us": "F AA DH ER", "en-gb-x-rp": "F AA DH AH"}),
        ("car", {"en-us": "K AA R", "en-gb-x-rp": "K AA", "en-us-nyc": "K AA"}),
        ("cars", {"en-gb-scotland": "K AA R Z"}),
        *(("bath", {"en-gb-x-rp": "B AA TH"}), ("little", {"en-us": "L IH T AH L"}), ("fire", {"en-us": "F AY ER"})),
        *(("choice", {"en-029": "CH OY S"}), ("of the", {"en-us": "AH V DH AH"})),
    ],
)
def test_espeak_words_have_the_dictionary_phones(text: str, by_accent: dict[str, str]) -> None:
    for accent, phones in by_accent.items():
        spoken = speak(text, accent)
        assert labels(spoken.alignment) == phones
        assert [i.label for i in spoken.alignment.words] == [text]
        assert spoken.alignment.phones[0].start_s == 0.0
        assert spoken.alignment.phones[-1].end_s == len(spoken.samples) / spoken.rate


def test_closures_of_espeak_are_quiet() -> None:
    """What moves from a vowel to a stop is at least 10 dB weaker than what stays."""
    samples, _, events, alignment = speak("a cap, a cat, a pack")
    phones = alignment.phones
    starts = {round(event.start_s, 6) for event in events}
    moved = [(v, s) for v, s in pairwise(phones) if s.label in "PTK" and round(s.start_s, 6) not in starts]
    assert len(moved) >= 5
    for vowel, stop in moved:
        burst = next(e.start_s for e in events if e.start_s > stop.start_s)
        level = [
            float(np.sqrt(np.mean(np.square(samples[round(a * 22050) : round(b * 22050)]))))
            for a, b in ((vowel.start_s, vowel.end_s), (stop.start_s, burst - 0.006))
        ]
        assert level[1] < level[0] * 10 ** (-10 / 20)
        assert 0.02 < burst - stop.start_s < 0.08
