"""The espeak-ng synthesizer, with the start and end of every phone it speaks.

espeak-ng (GPL 3) is used as a tool, through the shared library of the wheel `espeakng_loader`. Its output depends on
earlier utterances, even after a new initialisation, so a fresh fork speaks every utterance.
"""

import ctypes
import os
import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from multiprocessing import Pipe
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from phonoscope.corpus.items import Loaded
from phonoscope.errors import DataError, EnvironmentFault
from phonoscope.events import PhoneEvent

SAMPLE_RATE_HZ = 22_050
TIMEOUT_S = 60.0

# names and values of espeak-ng's speak_lib.h
_SYNCHRONOUS = 2
_INITIALIZE_PHONEME_EVENTS, _INITIALIZE_DONT_EXIT = 0x0001, 0x8000
_CHARS_UTF8, _ENDPAUSE = 0x0001, 0x1000
_POS_CHARACTER = 1
_EVENT_LIST_TERMINATED, _EVENT_WORD, _EVENT_PHONEME = 0, 1, 7
_RATE, _PITCH = 1, 3


@dataclass(frozen=True)
class EspeakSpeech:
    """One utterance to speak: arguments of `synthesize`."""

    text: str
    voice: str
    rate_wpm: int = 170
    pitch: int = 50

    def load(self) -> Loaded:
        return synthesize(self.text, self.voice, rate_wpm=self.rate_wpm, pitch=self.pitch)


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    ]


_SynthCallback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class _RawEvent(NamedTuple):
    type: int
    sample: int
    text_position: int
    name: str


@lru_cache(maxsize=1)
def _library() -> tuple[Any, Path]:
    """The loaded, not yet initialised library, and its data folder."""
    try:
        import espeakng_loader

        return ctypes.CDLL(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())
    except (ImportError, OSError, RuntimeError) as error:
        raise EnvironmentFault(f"espeak-ng does not load ({error}); install the package espeakng-loader") from error


def _check(text: str, voice: str, rate_wpm: int, pitch: int) -> None:
    if not text.strip() or "\0" in text:
        raise DataError(f"espeak: text {text!r} is empty or holds a NUL character")
    if not 80 <= rate_wpm <= 450:
        raise DataError(f"espeak: rate {rate_wpm} words a minute; it must lie in [80, 450]")
    if not 0 <= pitch <= 99:
        raise DataError(f"espeak: pitch {pitch}; it must lie in [0, 99]")
    # espeak-ng takes an unknown variant without a word and speaks with the plain voice
    variant = voice.partition("+")[2]
    if variant and not (_library()[1] / "voices" / "!v" / variant).is_file():
        raise DataError(f"espeak: voice {voice!r} has no variant {variant!r}; see the files of voices/!v")


def _speak(text: str, voice: str, rate_wpm: int, pitch: int) -> tuple[bytes, list[_RawEvent]]:
    """Speak in this process, which must not have spoken before. Returns 16-bit samples and raw events."""
    library, data = _library()
    chunks: list[bytes] = []
    events: list[_RawEvent] = []

    def receive(wave: Any, count: int, pointer: Any) -> int:
        if wave and count > 0:
            chunks.append(ctypes.string_at(wave, 2 * count))
        index = 0
        while (event := pointer[index]).type != _EVENT_LIST_TERMINATED:
            name = event.name.decode() if event.type == _EVENT_PHONEME else ""
            events.append(_RawEvent(event.type, event.sample, event.text_position, name))
            index += 1
        return 0

    options = _INITIALIZE_PHONEME_EVENTS | _INITIALIZE_DONT_EXIT
    rate_hz = library.espeak_Initialize(_SYNCHRONOUS, 0, os.fsencode(data), options)
    if rate_hz != SAMPLE_RATE_HZ:
        raise DataError(f"espeak: could not start with the data in {data} (returned {rate_hz})")
    library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # else the noise of breathy voices is seeded by the time of day
    callback = _SynthCallback(receive)
    library.espeak_SetSynthCallback(callback)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise DataError(f"espeak: no voice {voice!r}; `espeak-ng --voices=en` lists them")
    library.espeak_SetParameter(_RATE, rate_wpm, 0)
    library.espeak_SetParameter(_PITCH, pitch, 0)
    encoded = text.encode()
    flags = _CHARS_UTF8 | _ENDPAUSE
    status = library.espeak_Synth(encoded, len(encoded) + 1, 0, _POS_CHARACTER, 0, flags, None, None)
    if status != 0:
        raise DataError(f"espeak: could not speak {text!r} (error {status})")
    return b"".join(chunks), events


def _speak_in_fork(text: str, voice: str, rate_wpm: int, pitch: int) -> tuple[bytes, list[_RawEvent]]:
    _library()
    receiver, sender = Pipe(duplex=False)
    child = os.fork()
    if child == 0:  # the child must never return into the parent's code
        try:
            sender.send(_speak(text, voice, rate_wpm, pitch))
        except DataError as error:
            sender.send(str(error))
        finally:
            os._exit(0)
    sender.close()
    try:
        answer = receiver.recv() if receiver.poll(TIMEOUT_S) else f"espeak: no answer in {TIMEOUT_S:.0f} s"
    except EOFError:
        answer = f"espeak: its process died while speaking {text!r} with voice {voice!r}"
    finally:
        receiver.close()
        if os.waitpid(child, os.WNOHANG)[0] == 0:  # it hangs
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if isinstance(answer, str):
        raise DataError(answer)
    return answer


def _phone_events(raw: Sequence[_RawEvent], text: str, total: int) -> tuple[PhoneEvent, ...]:
    """Turn espeak-ng's marks into intervals: each phone lasts until the next phone or the end."""
    word_starts = np.array([match.start() for match in re.finditer(r"\S+", text)])
    marks: list[tuple[int, str, int]] = []
    word = -1
    for event in raw:
        if event.type == _EVENT_WORD:
            word = max(int(np.searchsorted(word_starts, event.text_position - 1, side="right")) - 1, 0)
        elif event.type == _EVENT_PHONEME and event.name:
            marks.append((event.sample, event.name, -1 if event.name.startswith("_") else word))
    starts = np.clip(np.maximum.accumulate([mark[0] for mark in marks] or [0]), 0, total)
    ends = np.append(starts[1:], total)
    return tuple(
        PhoneEvent(float(start) / SAMPLE_RATE_HZ, float(end) / SAMPLE_RATE_HZ, name, index)
        for start, end, (_, name, index) in zip(starts, ends, marks, strict=False)
        if end > start or not name.startswith("_")  # an L or R that colours its vowel has zero length
    )


def synthesize(text: str, voice: str, *, rate_wpm: int = 170, pitch: int = 50) -> Loaded:
    """Speak `text` with an espeak-ng voice such as `en-us+f3`, in a fresh process.

    The same arguments give the same samples on one machine; events are without gaps. `rate_wpm` is 80 to 450 words a
    minute, `pitch` 0 to 99 on espeak-ng's scale. Raises: `DataError` for an unknown voice, an impossible rate or pitch,
    empty text or a synthesizer that died; `EnvironmentFault` if the library does not load.
    """
    _check(text, voice, rate_wpm, pitch)
    wave, raw = _speak_in_fork(text, voice, rate_wpm, pitch)
    samples = np.frombuffer(wave, dtype=np.int16).astype(np.float32) / 32768.0
    return Loaded(samples, SAMPLE_RATE_HZ, _phone_events(raw, text, len(samples)))
