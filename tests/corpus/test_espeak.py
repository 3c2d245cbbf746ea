import os
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from phonoscope.compute import parallel_map
from phonoscope.corpus import espeak
from phonoscope.corpus.espeak import EspeakSpeech, synthesize
from phonoscope.errors import DataError
from phonoscope.events import PhoneEvent

TEXT = "The bright treasure, it is in the garage."
# f3 is breathy: its noise is random unless the synthesizer is seeded
REQUESTS = [EspeakSpeech(text, voice, 150, 40) for voice in ("en-us+f3", "en-gb-x-rp+m2") for text in (TEXT, "nine")]


def test_same_audio_in_any_order_and_process() -> None:
    first = [request.load() for request in REQUESTS]
    time.sleep(1.05)  # the synthesizer would seed its noise by the second
    again = parallel_map(EspeakSpeech.load, REQUESTS[::-1], workers=2)[::-1]
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.samples, other.samples)
        assert one.events == other.events


@pytest.mark.parametrize("request_", REQUESTS)
def test_audio_is_mono_float32_and_events_follow_each_other_without_gaps_to_the_end(request_: EspeakSpeech) -> None:
    speech = request_.load()
    assert (speech.samples.ndim, speech.samples.dtype, speech.sample_rate) == (1, np.float32, 22_050)
    assert 0.1 < np.abs(speech.samples).max() <= 1
    assert all(event.end_s >= event.start_s >= 0 for event in speech.events)
    assert all(event.end_s > event.start_s for event in speech.events if event.symbol.startswith("_"))
    assert all(before.end_s == after.start_s for before, after in pairwise(speech.events))
    assert speech.events[-1].end_s == len(speech.samples) / speech.sample_rate


def test_events_lie_where_the_sound_is() -> None:
    """The pause inside the text is silent, the vowel of nine is not."""
    speech = synthesize(TEXT, "en-us+m3")

    def rms(event: PhoneEvent) -> float:
        start, end = (round(t * speech.sample_rate) for t in (event.start_s + 0.02, event.end_s - 0.02))
        return float(np.sqrt(np.mean(speech.samples[start:end] ** 2)))

    pauses = [event for event in speech.events if event.symbol.startswith("_") and event.end_s - event.start_s > 0.1]
    vowel = next(event for event in speech.events if "aI" in event.symbol)
    assert pauses
    assert max(map(rms, pauses)) < 0.1 * rms(vowel)


def test_word_index_counts_words_of_the_text_and_an_l_coloured_into_its_vowel_is_kept() -> None:
    events = synthesize("Dogs run, cats sleep.", "en-us").events
    by_word = {index: [e.symbol.lstrip("',") for e in events if e.word_index == index] for index in range(4)}
    assert [symbols[0] for symbols in by_word.values()] == ["d", "r", "k", "s"]
    assert all(event.word_index == -1 for event in events if event.symbol.startswith("_"))
    symbols = [event.symbol for event in synthesize("they will call the tall girl well", "en-us").events]
    assert sum(symbol.lstrip("',%").startswith("l") for symbol in symbols) >= 5


def test_rate_and_pitch_change_the_speech() -> None:
    slow, fast = (synthesize(TEXT, "en-us", rate_wpm=rate) for rate in (120, 240))
    assert len(slow.samples) > 1.4 * len(fast.samples)
    low, high = (synthesize(TEXT, "en-us", pitch=pitch) for pitch in (20, 80))
    assert not np.array_equal(low.samples[:5000], high.samples[:5000])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"voice": "en-atlantis"}, "no voice 'en-atlantis'"),
        ({"voice": "en-us+nobody"}, "no variant 'nobody'"),
        ({"text": " \n"}, "empty"),
        ({"text": "a\0b"}, "NUL"),
        ({"rate_wpm": 20}, "rate 20"),
        ({"pitch": 100}, "pitch 100"),
    ],
)
def test_refuses_impossible_arguments(arguments: dict[str, object], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        synthesize(**({"text": "yes", "voice": "en-us"} | arguments))


@pytest.mark.parametrize(
    ("speak", "reason"),
    [(lambda *_: os._exit(1), "died while speaking 'yes'"), (lambda *_: time.sleep(600), "no answer")],
)
def test_child_that_dies_or_hangs_is_an_error(
    speak: Callable[..., None], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(espeak, "_speak", speak)
    monkeypatch.setattr(espeak, "TIMEOUT_S", 2.0)
    with pytest.raises(DataError, match=reason):
        synthesize("yes", "en-us")
