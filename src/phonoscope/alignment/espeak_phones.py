"""From espeak-ng's phoneme mnemonics to ARPABET, per accent.

The inventory is empirical: every symbol that the five accents speak in 117,000 words of the CMU dictionary. Where the
accents differ, espeak-ng's own IPA for that accent decides (`A@` is AA R in the rhotic en-us, AA in RP); the schwa
off-glide of a centring diphthong (`e@` in RP) is left out, since ARPABET has no such phone.
"""

from __future__ import annotations

from phonoscope.config.alignment import Stress
from phonoscope.data.phones import SILENCE, VOWELS
from phonoscope.errors import DataError

_VOWELS = {
    "0": "AA", "A:": "AA", "A@": "AA", "A~": "AA", "a": "AE", "aa": "AE",
    "V": "AH", "@": "AH", "@-": "AH", "@2": "AH", "@5": "AH", "a#": "AH", "3": "AH", "@L": "AH L",
    "O": "AO", "O2": "AO", "O:": "AO", "O@": "AO", "o@": "AO", "O~": "AO",
    "aU": "AW", "aI": "AY", "aI2": "AY", "aI@": "AY AH", "aI3": "AY AH",
    "E": "EH", "e@": "EH", "3:": "ER", "eI": "EY",
    "I": "IH", "I2": "IH", "I#": "IH", "i@3": "IH", "i": "IY", "i:": "IY", "i@": "IY AH",
    "oU": "OW", "o": "OW", "OI": "OY", "U": "UH", "U@": "UH", "u:": "UW",
}  # fmt: skip
_CONSONANTS = {
    "b": "B", "d": "D", "D": "DH", "dZ": "JH", "f": "F", "g": "G", "h": "HH", "j": "Y", "k": "K", "l": "L", "m": "M",
    "n": "N", "N": "NG", "p": "P", "r": "R", "r-": "R", "s": "S", "S": "SH", "t": "T", "tS": "CH", "T": "TH", "v": "V",
    "w": "W", "z": "Z", "Z": "ZH",
    # allophones: flapped, unreleased and dental t, glottal stop, voiceless w, syllabic n, the ch of loch
    "t#": "T", "t2": "T", "t[": "T", "?": "T", "w#": "W", "n-": "AH N", "l#": "L", "x": "K",
    # palatal glide into the next vowel: belongs to the phone before it
    ";": "",
}  # fmt: skip
_RHOTIC = {"A@": "AA R", "O@": "AO R", "o@": "AO R", "e@": "EH R", "i@3": "IH R", "U@": "UH R"}

ACCENTS: dict[str, dict[str, str]] = {
    "en-us": {**_RHOTIC, "3": "ER", "aI3": "AY ER"},
    "en-us-nyc": {},
    "en-gb-x-rp": {"aa": "AA", "U@": "AO"},
    "en-gb-scotland": {**_RHOTIC, "VR": "ER", "IR": "ER"},
    "en-029": {},
}


def arpabet(symbol: str, accent: str, stress: Stress = "strip") -> list[str]:
    """The ARPABET phones of one phoneme event, such as `'A@` -> AA R; empty if it only prolongs the phone before it.

    With stress kept the first vowel carries the event's mark (`'` is 1, `,` is 2), every other vowel 0.
    Raises: `DataError` naming an unknown symbol or accent.
    """
    if accent not in ACCENTS:
        raise DataError(f"no phone map for the accent {accent!r}; known: {', '.join(ACCENTS)}")
    if symbol.startswith("_"):
        return [SILENCE]
    name = symbol.lstrip("',")
    phone_map = {**_VOWELS, **_CONSONANTS, **ACCENTS[accent]}
    if name not in phone_map:
        raise DataError(f"espeak's symbol {name!r} has no ARPABET phone in the map of {accent}")
    phones = phone_map[name].split()
    if stress == "strip":
        return phones
    marks = ["1" if symbol.startswith("'") else "2" if symbol.startswith(",") else "0", "0"]
    return [phone + marks[min(index, 1)] if phone in VOWELS else phone for index, phone in enumerate(phones)]
