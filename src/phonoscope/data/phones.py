"""The phone set: ARPABET's 39 phones and silence, their groups, and the names that aligners use."""

from collections.abc import Mapping
from types import MappingProxyType

from phonoscope.config.alignment import Stress
from phonoscope.errors import DataError

SILENCE = "SIL"
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "vowel": ("IY", "IH", "EY", "EH", "AE", "AA", "AO", "OW", "UH", "UW", "AH", "ER", "AY", "AW", "OY"),
        "approximant": ("L", "R", "W", "Y"),
        "nasal": ("M", "N", "NG"),
        "stop": ("P", "B", "T", "D", "K", "G"),
        "affricate": ("CH", "JH"),
        "fricative": ("F", "V", "TH", "DH", "S", "Z", "SH", "ZH", "HH"),
        "silence": (SILENCE,),
    }
)
"""Phones by manner of articulation, in the order of the figures."""
OTHER = "other"  # the group of a name that is no ARPABET phone
_GROUP = {phone: group for group, phones in GROUPS.items() for phone in phones}
_ORDER = {phone: rank for rank, phone in enumerate(_GROUP)}
PHONES = tuple(sorted(_GROUP.keys() - {SILENCE}))  # ARPABET's 39
VOWELS = frozenset(GROUPS["vowel"])
STOPS = frozenset(GROUPS["stop"] + GROUPS["affricate"])  # plosives and affricates: the phones that begin with a closure

SILENCE_NAMES = frozenset(
    {"", "sil", "sp", "ssil", "pau", "silence", "<eps>", "<sil>", "<s>", "</s>"}
    # spoken noise, unknown words and noise: speech perhaps, but no phone is known, so it must not train a phone probe
    | {"spn", "nsn", "<unk>", "+spn+", "+nsn+", "[noise]", "[speech]"}
)
"""Labels that become `SIL`, in any case: silence, and everything that holds no known phone."""


def normalise_phone(label: str, stress: Stress = "strip") -> str:
    """The phone of an aligner's label: `ah0` -> `AH` (or `AH0` if stress is kept), `sp` -> `SIL`.

    Raises: `DataError` for a label that is neither an ARPABET phone nor a name of silence.
    """
    if label.strip().lower() in SILENCE_NAMES:
        return SILENCE
    phone = label.strip().upper()
    if phone in PHONES:
        return phone
    if phone[:-1] in VOWELS and phone[-1] in "012":
        return phone if stress == "keep" else phone[:-1]
    raise DataError(
        f"{label!r} is not an ARPABET phone; align with an ARPABET dictionary, such as MFA's english_us_arpa"
    )


def phone_group(phone: str) -> str:
    """The manner of articulation of an ARPABET phone, with or without stress digit; `other` for any other name."""
    return _GROUP.get(phone.rstrip("012"), OTHER)


def phone_order(phone: str) -> tuple[int, str]:
    """Sort key of phones: by group, unknown names last."""
    return _ORDER.get(phone.rstrip("012"), len(_ORDER)), phone
