"""Items of a source: utterances whose audio is not read yet, and rows that cannot be used."""

import re
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from phonoscope.audio import read_audio
from phonoscope.errors import DataError
from phonoscope.events import PhoneEvent

MAX_ID_BYTES = 120
MAX_DURATION_S = 120.0
"""Later stages take an utterance whole: a codec needs up to 9 MB a second of it, the F0 track 1.5 MB and 0.2 s."""
_ID = re.compile(r"\w[\w.+=-]*")


@dataclass(frozen=True)
class Loaded:
    """Audio of one utterance, shape [samples], and its phones where a synthesizer knows them."""

    samples: NDArray[np.float32]
    sample_rate: int
    events: tuple[PhoneEvent, ...] = ()


class Audio(Protocol):
    """A source of samples that any process can load. `load` raises `DataError`."""

    def load(self) -> Loaded: ...


@dataclass(frozen=True)
class AudioFile:
    """A sound file."""

    path: Path

    def load(self) -> Loaded:
        import soundfile as sf

        with suppress(sf.LibsndfileError):  # reading it says what is wrong
            duration_s = sf.info(self.path).duration
            if duration_s > MAX_DURATION_S:  # before it is read into memory
                length = f"{duration_s:.0f} s long, more than {MAX_DURATION_S:g} s"
                raise DataError(f"{self.path}: {length}; cut it into utterances")
        return Loaded(*read_audio(self.path))


@dataclass(frozen=True)
class RawItem:
    """One utterance of a source. `origin` is what `rejected.csv` names: a path relative to the root, or an id."""

    utterance: str
    speaker: str
    chapter: str
    origin: str
    audio: Audio
    text: str = ""
    sex: str = ""
    accent: str = ""
    word: str = ""
    split: str = ""
    stratum: str = ""  # cell of a balanced sample (Common Voice: sex and accent)


@dataclass(frozen=True)
class Rejected:
    """A part of the source that is not a usable utterance."""

    path: str
    reason: str


def check_id(name: str) -> None:
    """Raise `DataError` unless `name` is safe as one part of a path: letters, digits and `_.+=-`, no `..`, not long."""
    if not _ID.fullmatch(name) or ".." in name:
        raise DataError(f"unsafe id {name[:MAX_ID_BYTES]!r}: letters, digits and _ . + = - only, no '..'")
    if len(name.encode()) > MAX_ID_BYTES:
        raise DataError(f"id {name[:20]!r}… is longer than {MAX_ID_BYTES} bytes")


def slug(text: str) -> str:
    """A name made safe: NFC, every run of anything but letters, digits, `_` and `-` becomes one `_`."""
    return re.sub(r"[^\w-]+", "_", unicodedata.normalize("NFC", text)).strip("_-")


def sex_code(label: str) -> str:
    """`F`, `M` or the empty string, from the labels corpora use (`female`, `M`, `male_masculine`, …)."""
    match = re.fullmatch(r"(f|m)(emale|ale)?([_ -].*)?", label.strip().lower())
    return match[1].upper() if match else ""
