import pytest

from phonoscope.data.phones import GROUPS, PHONES, SILENCE, STOPS, VOWELS, normalise_phone, phone_group, phone_order
from phonoscope.errors import DataError


def test_there_are_39_phones() -> None:
    assert len(PHONES) == 39
    assert (len(VOWELS), len(PHONES) - len(VOWELS)) == (15, 24)
    assert set(PHONES) > STOPS
    assert SILENCE not in PHONES


def test_groups_give_every_phone_one_place_in_one_order() -> None:
    grouped = [phone for phones in GROUPS.values() for phone in phones]
    assert sorted(grouped) == sorted([*PHONES, SILENCE])
    assert [*sorted(PHONES, key=phone_order), SILENCE] == grouped
    assert [phone_group(phone) for phone in ("AA1", "CH", "SIL", "noise")] == ["vowel", "affricate", "silence", "other"]
    assert max("ZH", "noise", "SIL", key=phone_order) == "noise"


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
