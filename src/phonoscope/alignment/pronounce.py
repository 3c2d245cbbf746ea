"""Pronunciation of words that no dictionary has, by espeak-ng's letter-to-sound rules (US English, ARPABET)."""

from __future__ import annotations

import ctypes
import os
import re
import unicodedata
from functools import cache

from phonoscope.alignment.espeak_phones import arpabet
from phonoscope.errors import DataError, EnvironmentFault

_ACCENT = "en-us"
_SEPARATOR = "|"
# names and values of espeak-ng's speak_lib.h
_SYNCHRONOUS, _INITIALIZE_DONT_EXIT, _CHARS_UTF8 = 2, 0x8000, 1


def pronounce(word: str) -> list[str]:
    """The phones of a word or a number, without stress: `workhouse` -> W ER K HH AW S.

    Raises: `DataError` for a word with letters that are not Latin, which espeak-ng would spell out by their names.
    """
    if not all(letter.isascii() or unicodedata.name(letter, "").startswith("LATIN") for letter in word):
        raise DataError(f"the word {word!r} has letters that are not Latin")
    text = ctypes.c_char_p(word.encode())
    spoken = b""
    while text.value:  # one clause at a time
        spoken += b" " + _library().espeak_TextToPhonemes(ctypes.byref(text), _CHARS_UTF8, ord(_SEPARATOR) << 8)
    symbols = re.split(rf"[{_SEPARATOR} ]", spoken.decode())
    if not (phones := [phone for symbol in symbols if symbol for phone in arpabet(symbol, _ACCENT)]):
        raise DataError(f"espeak-ng has no pronunciation of {word!r}")
    return phones


@cache
def _library() -> ctypes.CDLL:
    try:
        import espeakng_loader

        library = ctypes.CDLL(espeakng_loader.get_library_path())
    except (ImportError, OSError, RuntimeError) as error:
        raise EnvironmentFault(f"espeak-ng does not load ({error}); install the package espeakng-loader") from error
    library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(espeakng_loader.get_data_path()), _INITIALIZE_DONT_EXIT)
    library.espeak_SetVoiceByName(_ACCENT.encode())
    library.espeak_TextToPhonemes.restype = ctypes.c_char_p
    library.espeak_TextToPhonemes.argtypes = [ctypes.POINTER(ctypes.c_char_p), ctypes.c_int, ctypes.c_int]
    return library
