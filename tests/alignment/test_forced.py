from __future__ import annotations

import jiwer
import numpy as np
import pytest

from phonoscope.alignment.forced import _dictionary, force_align, outside_dictionary
from phonoscope.alignment.pronounce import pronounce
from phonoscope.errors import DataError

from .spoken import labels, speak


@pytest.mark.parametrize(
    ("text", "phones"), [("Five.", "F AY V"), ("yes, no!", "Y EH S N OW"), ("it’s a song", "IH T S AH S AO NG")]
)
def test_phones_are_the_dictionary_s(text: str, phones: str) -> None:
    audio = speak(text).at_16_khz
    alignment = force_align(audio, text)
    assert labels(alignment) == phones
    assert len(alignment.words) == len(text.split())
    assert alignment.phones[0].start_s == 0.0
    assert alignment.phones[-1].end_s == len(audio) / 16_000


@pytest.mark.parametrize(
    ("word", "phones"),
    # the words of LibriSpeech that ended a run for one word outside the dictionary
    [
        ("workhouse", "W ER K HH AW S"),
        ("counselled", "K AW N S EH L D"),
        ("7", "S EH V AH N"),
        ("seventy-one", "S EH V AH N T IY W AH N"),
    ],
)
def test_a_word_outside_the_dictionary_is_pronounced_by_rule(word: str, phones: str) -> None:
    text = f"the {word}"
    alignment = force_align(speak(text).at_16_khz, text)
    assert labels(alignment).endswith(phones)
    assert [interval.label for interval in alignment.words] == ["the", word]
    assert outside_dictionary(text) == [word]  # also after it has been pronounced
    assert outside_dictionary("the house") == []


def test_the_rules_agree_with_the_dictionary_on_most_phones() -> None:
    words = [
        "paper",
        "kitchen",
        "seven",
        "morning",
        "winter",
        "garden",
        "people",
        "music",
        "river",
        "summer",
        "table",
        "window",
    ]
    errors = [jiwer.wer(str(_dictionary().lookup_word(word)), " ".join(pronounce(word))) for word in words]
    assert np.mean(errors) < 0.2


def test_boundaries_agree_with_the_synthesizer() -> None:
    spoken = speak("seven men sing")
    alignments = (force_align(spoken.at_16_khz, "seven men sing"), spoken.alignment)
    assert labels(alignments[0]) == labels(alignments[1])
    starts = [np.array([p.start_s for p in alignment.phones if p.label != "SIL"]) for alignment in alignments]
    assert np.median(np.abs(starts[0] - starts[1])) < 0.025


def test_does_not_depend_on_what_was_aligned_before() -> None:
    rng = np.random.default_rng(0)
    audio = {}
    for text in ("zero", "six", "seven eight nine"):
        clean = speak(text).at_16_khz
        audio[text] = clean + 0.02 * rng.standard_normal(len(clean)).astype(np.float32)
    forward = {text: force_align(samples, text) for text, samples in audio.items()}
    backward = {text: force_align(samples, text) for text, samples in reversed(audio.items())}
    assert forward == backward


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *((text, "no transcript") for text in ("", " … ", "-")),
        ("seven 東京", "東京' has letters that are not Latin"),
        ("seven " * 30, "forced alignment failed"),
    ],
)
def test_text_that_cannot_be_aligned_is_refused(text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        force_align(speak("seven").at_16_khz, text)
