from __future__ import annotations

import random
from pathlib import Path

import pocketsphinx
import pytest

from phonoscope.alignment.espeak_phones import ACCENTS, arpabet
from phonoscope.corpus.espeak import synthesize
from phonoscope.data.phones import PHONES
from phonoscope.errors import DataError


@pytest.mark.parametrize(
    ("symbol", "by_accent"),
    [
        ("A@", {"en-us": "AA R", "en-gb-x-rp": "AA", "en-us-nyc": "AA", "en-gb-scotland": "AA R"}),
        ("3", {"en-us": "ER", "en-gb-x-rp": "AH"}),
        ("'aa", {"en-us": "AE", "en-gb-x-rp": "AA"}),
        (",aI@", {"en-029": "AY AH"}),
        *(("@L", {"en-us": "AH L"}), ("tS", {"en-us": "CH"}), ("t#", {"en-us": "T"}), (";", {"en-us": ""})),
        *(("_:", {"en-us": "SIL"}), ("_", {"en-029": "SIL"})),
    ],
)
def test_map(symbol: str, by_accent: dict[str, str]) -> None:
    assert {accent: " ".join(arpabet(symbol, accent)) for accent in by_accent} == by_accent


def test_stress_is_kept_on_the_first_vowel() -> None:
    assert arpabet("'aI@", "en-us", "keep") == ["AY1", "AH0"]
    assert arpabet(",A@", "en-us", "keep") == ["AA2", "R"]
    assert arpabet("@L", "en-us", "keep") == ["AH0", "L"]
    assert arpabet("k", "en-us", "keep") == ["K"]


def test_unknown_symbol_and_accent_are_named() -> None:
    with pytest.raises(DataError, match="symbol 'y:' has no ARPABET phone in the map of en-us"):
        arpabet("'y:", "en-us")
    with pytest.raises(DataError, match="accent 'de'; known: en-us, "):
        arpabet("a", "de")


def _dictionary_words() -> list[str]:
    lines = Path(pocketsphinx.get_model_path("en-us/cmudict-en-us.dict")).read_text().splitlines()
    return [line.split()[0] for line in lines if line and line.split()[0].isalpha()]


@pytest.mark.parametrize("accent", ACCENTS)
def test_every_symbol_of_a_thousand_words_is_mapped(accent: str) -> None:
    words = random.Random(7).sample(_dictionary_words(), 1000)
    spoken: set[str] = set()
    for start in range(0, len(words), 100):
        for event in synthesize(" ".join(words[start : start + 100]), accent).events:
            spoken.update(arpabet(event.symbol, accent))
    # the Caribbean voice has d and t for the dental fricatives
    assert spoken - {"SIL"} == set(PHONES) - ({"DH", "TH"} if accent == "en-029" else set())
