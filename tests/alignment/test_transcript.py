from __future__ import annotations

import pytest

from phonoscope.alignment.transcript import spoken_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("“Don’t” — she said…", ["don't", "", "she", "said"]),
        ("  ", []),
        ("well-known (yes)", ["well-known", "yes"]),
    ],
)
def test_one_entry_per_token(text: str, words: list[str]) -> None:
    assert spoken_words(text) == words
    assert len(spoken_words(text)) == len(text.split())
