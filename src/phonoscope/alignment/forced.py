"""Forced alignment of a known transcript with pocketsphinx's US English model and dictionary (ARPABET, no stress)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from phonoscope.alignment.intervals import check_intervals, fill_gaps, relabel, spoken_words
from phonoscope.alignment.pronounce import pronounce
from phonoscope.data.labels import Alignment, Interval
from phonoscope.data.phones import SILENCE_NAMES, normalise_phone
from phonoscope.errors import DataError, EnvironmentFault

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pocketsphinx import AlignmentEntry, Decoder

SAMPLE_RATE_HZ = 16_000
_FRAME_RATE_HZ = 100
_FRAME_OFFSET_S = 0.0078  # frame i stands for the time around its 25.6 ms window's centre, i * 10 ms + 12.8 ms
_BEAM = 1e-200  # the default, 1e-48, loses 0.3 % of isolated digits; 1e-80 loses 8 % of accented sentences, this none


@lru_cache(maxsize=1)
def _decoder() -> Decoder:
    return _new_decoder()


def _new_decoder() -> Decoder:
    try:
        from pocketsphinx import Decoder
    except ImportError as error:
        raise EnvironmentFault(f"pocketsphinx does not load ({error}); install it for forced alignment") from error
    # cmn="batch": the cepstral mean of this utterance alone, where "live" would carry it over from the one before
    return Decoder(lm=None, cmn="batch", bestpath=False, loglevel="FATAL", beam=_BEAM, pbeam=_BEAM, wbeam=_BEAM)


def force_align(samples: NDArray[np.float32], text: str) -> Alignment:
    """Align `samples` (shape [samples], 16 kHz) to the words of `text`.

    Of a word's several pronunciations the aligner takes the likeliest; a word that the dictionary lacks is pronounced
    by rule (`outside_dictionary` names these). The result does not depend on what was aligned before.
    Raises: `DataError` for a word that no rule pronounces, or if the text does not fit the audio.
    """
    words = [word for word in spoken_words(text) if word]
    if not words:
        raise DataError("no transcript to align to")
    decoder = _decoder()
    # the front end tracks noise from one utterance to the next; only this resets it
    decoder.reinit_feat()
    for word in words:
        if decoder.lookup_word(word) is None:
            decoder.add_word(word, " ".join(pronounce(word)))
    duration_s = len(samples) / SAMPLE_RATE_HZ
    aligned = _align(decoder, (np.clip(samples, -1.0, 1.0) * 32767).astype("<i2").tobytes(), " ".join(words))
    spoken = [word for word, _ in aligned if word.label.lower() not in SILENCE_NAMES]
    phones = relabel((phone for _, phones in aligned for phone in phones), normalise_phone)
    return Alignment(
        # the second pronunciation of `the` is called `the(2)`
        words=relabel(check_intervals(spoken, duration_s), lambda label: label.partition("(")[0]),
        phones=fill_gaps(check_intervals(phones, duration_s), duration_s),
    )


def outside_dictionary(text: str) -> list[str]:
    """The words of a text that the pronunciation dictionary lacks, in order of appearance."""
    words = filter(None, spoken_words(text))
    return [word for word in dict.fromkeys(words) if _dictionary().lookup_word(word) is None]


@lru_cache(maxsize=1)
def _dictionary() -> Decoder:
    """A decoder to which no word is ever added."""
    return _new_decoder()


def _align(decoder: Decoder, data: bytes, text: str) -> list[tuple[Interval, list[Interval]]]:
    """Each word with its phones, in two passes: words, then the phones within them."""
    try:
        decoder.set_align_text(text)
        _decode(decoder, data)
        if decoder.hyp() is None:
            raise DataError("forced alignment failed: the transcript does not fit the audio")
        decoder.set_alignment()
        _decode(decoder, data)
        # an entry is valid only until the next one is asked for: pocketsphinx frees it
        return [(_interval(word), [_interval(phone) for phone in word]) for word in decoder.get_alignment()]
    except RuntimeError as error:
        raise DataError(f"forced alignment failed: {error}") from error


def _decode(decoder: Decoder, data: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(data, full_utt=True)
    decoder.end_utt()


def _interval(entry: AlignmentEntry) -> Interval:
    # nothing comes before the first frame, so it reaches back to the start of the audio
    start_s = entry.start / _FRAME_RATE_HZ + (_FRAME_OFFSET_S if entry.start else 0.0)
    return Interval(start_s, (entry.start + entry.duration) / _FRAME_RATE_HZ + _FRAME_OFFSET_S, entry.name)
