"""The phone set: ARPABET's 39 phones and silence, and the one map from the names that aligners use."""

from __future__ import annotations

from phonoscope.config.alignment import Stress
from phonoscope.errors import DataError

SILENCE = "SIL"
VOWELS = frozenset(["AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"])
STOPS = frozenset(["B", "CH", "D", "G", "JH", "K", "P", "T"])
"""Plosives and affricates: the phones that begin with a closure."""
CONSONANTS = STOPS | frozenset(["DH", "F", "HH", "L", "M", "N", "NG", "R", "S", "SH", "TH", "V", "W", "Y", "Z", "ZH"])
PHONES = tuple(sorted(VOWELS | CONSONANTS))

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
    if phone in VOWELS or phone in CONSONANTS:
        return phone
    if phone[:-1] in VOWELS and phone[-1] in "012":
        return phone if stress == "keep" else phone[:-1]
    raise DataError(
        f"{label!r} is not an ARPABET phone; align with an ARPABET dictionary, such as MFA's english_us_arpa"
    )
