from __future__ import annotations

import pytest

from phonoscope.alignment.arpabet import CONSONANTS, PHONES, SILENCE, STOPS, VOWELS, normalise_phone
from phonoscope.errors import DataError


def test_there_are_39_phones() -> None:
    assert len(PHONES) == 39
    assert (len(VOWELS), len(CONSONANTS)) == (15, 24)
    assert STOPS < CONSONANTS
    assert SILENCE not in PHONES


@pytest.mark.parametrize("label", ["", " ", "sil", "SIL", "sp", "SP", "spn", "SPN", "<eps>", "<SIL>", "+SPN+", "Sil"])
def test_silence_names(label: str) -> None:
    assert normalise_phone(label) == "SIL"


@pytest.mark.parametrize(
    ("label", "stripped", "kept"),
    [("AH0", "AH", "AH0"), ("iy1", "IY", "IY1"), ("ER2", "ER", "ER2"), ("AA", "AA", "AA"), (" ng ", "NG", "NG")],
)
def test_stress(label: str, stripped: str, kept: str) -> None:
    assert normalise_phone(label) == stripped
    assert normalise_phone(label, "keep") == kept


@pytest.mark.parametrize("label", ["ə", "AH3", "K1", "AX", "A", "0", "hello"])
def test_unknown_phone_is_named(label: str) -> None:
    with pytest.raises(DataError, match=f"'{label}' is not an ARPABET phone; align with an ARPABET dictionary"):
        normalise_phone(label)
