from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from phonoscope.alignment import Alignment, align_events, force_align
from phonoscope.audio import resample
from phonoscope.corpus.espeak import synthesize
from phonoscope.errors import DataError
from phonoscope.events import PhoneEvent


def speak(text: str, voice: str = "en-us") -> NDArray[np.float32]:
    speech = synthesize(text, voice)
    return resample(speech.samples, speech.sample_rate, 16_000)


def labels(alignment: Alignment) -> list[str]:
    return [phone.label for phone in alignment.phones if phone.label != "SIL"]


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("seven", "S EH V AH N"),
        ("Five.", "F AY V"),
        ("yes, no!", "Y EH S N OW"),
        ("it’s a boat", "IH T S AH B OW T"),
        ("we sing", "W IY S IH NG"),
    ],
)
def test_phones_are_the_dictionary_s(text: str, phones: str) -> None:
    audio = speak(text)
    alignment = force_align(audio, text)
    assert labels(alignment) == phones.split()
    assert len(alignment.words) == len(text.split())
    assert alignment.phones[0].start_s == 0.0
    assert alignment.phones[-1].end_s == len(audio) / 16_000


def test_boundaries_agree_with_the_synthesizer() -> None:
    text = "seven men sing"
    speech = synthesize(text, "en-us")
    truth = align_events(
        [PhoneEvent(*event) for event in speech.events], text, "en-us", speech.samples, speech.sample_rate
    )
    found = force_align(resample(speech.samples, speech.sample_rate, 16_000), text)
    assert labels(found) == labels(truth)
    starts = [np.array([p.start_s for p in alignment.phones if p.label != "SIL"]) for alignment in (found, truth)]
    assert np.median(np.abs(starts[0] - starts[1])) < 0.025


def test_does_not_depend_on_what_was_aligned_before() -> None:
    rng = np.random.default_rng(0)
    audio = {}
    for text in ("zero", "six", "seven eight nine"):
        clean = speak(text)
        audio[text] = clean + 0.02 * rng.standard_normal(len(clean)).astype(np.float32)
    forward = {text: force_align(samples, text) for text, samples in audio.items()}
    backward = {text: force_align(samples, text) for text, samples in reversed(audio.items())}
    assert forward == backward


def test_unknown_words_are_named() -> None:
    with pytest.raises(DataError, match=r"not in the pronunciation dictionary: zorblax, 7$"):
        force_align(speak("seven"), "Zorblax 7 seven zorblax")


@pytest.mark.parametrize("text", ["", " … ", "-"])
def test_no_transcript(text: str) -> None:
    with pytest.raises(DataError, match="no transcript"):
        force_align(speak("seven"), text)


def test_text_that_cannot_fit() -> None:
    with pytest.raises(DataError, match="forced alignment failed"):
        force_align(speak("no"), "seven " * 30)
