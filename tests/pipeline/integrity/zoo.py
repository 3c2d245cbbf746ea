"""Small projects for the command line: their parameters, their speech, and the sick files among it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf

from phonoscope import paths
from tests.alignment.test_textgrid import grid
from tests.corpus.trees import put, tone

Maker = Callable[[Path], object]
RATE = 8000
GOOD = ("good 1.wav", "good 2.wav", "good 3.wav")


def project(folder: Path, **changes: Any) -> None:
    """params.yaml for speech in `speech` and TextGrids in `grids`; in `changes` two underscores stand for a dot."""
    sections: dict[str, dict[str, Any]] = {
        "codecs": {"dac": {"kind": "dac"}},
        "corpus": {"source": "folder", "root": "speech", "max_rejected": 1.0},
        "alignment": {"root": "grids"},
        "compute": {"workers": 1},
        "tracking": {"enabled": False},
    }
    for key, value in changes.items():
        section, name = key.split("__")
        sections.setdefault(section, {})[name] = value
    (folder / paths.PARAMS).write_text(json.dumps(sections), encoding="utf-8")  # JSON is YAML
    for name in ("speech", "grids"):
        (folder / name).mkdir(exist_ok=True)


def speech(folder: Path, files: dict[str, Maker], texts: Iterable[str] = (), speaker: str = "ann") -> None:
    """Files of one speaker in `speech`, listed in its metadata.csv."""
    for name, make in files.items():
        path = folder / "speech" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
    rows = [[name, speaker, text] for name, text in zip_longest(files, texts, fillvalue="")]
    metadata(folder, ["file", "speaker", "text"], rows)


def metadata(folder: Path, header: list[str], rows: Iterable[list[str]]) -> None:
    with (folder / "speech" / "metadata.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def samples(values: Any, rate: int = RATE, **form: str) -> Maker:
    """Writes these samples with libsndfile."""
    return lambda path: sf.write(path, values, rate, **form)


def content(make: Callable[[bytes], bytes]) -> Maker:
    """Writes what `make` makes of a sound WAV file's bytes."""
    return lambda path: path.write_bytes(make(put(path).read_bytes()))


def repeated(value: float) -> Any:
    return np.append(tone(), np.full(4, value)).astype(np.float32)


def an_hour(path: Path) -> None:
    """8-bit, 28.8 MB."""
    with sf.SoundFile(path, "w", RATE, 1, "PCM_U8") as file:
        minute = tone(60.0)
        for _ in range(60):
            file.write(minute)


BAD: dict[str, tuple[Maker, str]] = {
    "empty.wav": (Path.touch, "not a readable audio file"),
    "header cut.wav": (content(lambda whole: whole[:20]), "not a readable audio file"),
    "data cut.wav": (content(lambda whole: whole[: len(whole) // 2]), "truncated, 2422 of 4844 bytes are missing"),
    "no samples.wav": (samples(np.zeros(0)), "no samples"),
    "10 ms.wav": (samples(tone(0.01)), "shorter than 0.05 s (0.010 s)"),
    "silent.wav": (samples(np.zeros(RATE)), "silent (peak below -80 dBFS)"),
    "nan.wav": (samples(repeated(np.nan), subtype="FLOAT"), "NaN or infinite samples"),
    "infinite.wav": (samples(repeated(np.inf), subtype="FLOAT"), "NaN or infinite samples"),
    "text.wav": (lambda path: path.write_text("no sound, but text"), "not a readable audio file"),
    "folder.wav": (Path.mkdir, "not a readable audio file"),
    "itself.wav": (lambda path: path.symlink_to(path.name), "no such audio file"),
    "gone.wav": (lambda path: None, "no such audio file"),
    "an hour.wav": (an_hour, "3600 s long, more than 120 s; cut it into utterances"),
}
"""Sound files that cannot be used: their maker, and the reason that rejected.csv gives."""

UNUSUAL: dict[str, tuple[Maker, int]] = {
    "clipped.wav": (samples(np.clip(5 * tone(), -1, 1)), RATE),
    "stereo.wav": (samples(np.stack([tone()] * 2, axis=1)), RATE),
    "5.1.wav": (samples(np.stack([tone()] * 6, axis=1)), RATE),
    "8 bit.wav": (samples(tone(), subtype="PCM_U8"), RATE),
    "24 bit.wav": (samples(tone(), subtype="PCM_24"), RATE),
    "float64.wav": (samples(tone(), subtype="DOUBLE"), RATE),
    "44.1 kHz.wav": (samples(tone(rate=44_100), 44_100), 44_100),
    "96 kHz.wav": (samples(tone(rate=96_000), 96_000), 96_000),
    "mp3.mp3": (samples(tone(rate=44_100), 44_100, format="MP3"), 44_100),
    "opus.opus": (samples(tone(rate=48_000), 48_000, format="OGG", subtype="OPUS"), 48_000),
    "flac.wav": (samples(tone(), format="FLAC"), RATE),
    "żółw – 中文/ü b.wav": (put, RATE),
    "two\nlines.wav": (put, RATE),
}
"""Sound files that are taken: their maker, and their sample rate in Hz."""

UNSAFE = "file must be a path below the corpus's folder"
ROWS: list[tuple[list[str], str]] = [
    (["../x.wav", "ann"], UNSAFE),
    (["/etc/passwd", "ann"], UNSAFE),
    (["good 1.wav", ""], "file or speaker is empty"),
    (["good_1.wav", "ann"], "the id ann-0-good_1 is taken by good 1.wav"),
    (["good 2.wav", "../.."], "unsafe id"),
    (["good 3.wav", "a" * 130], "longer than 120 bytes"),
]
"""Rows of metadata.csv (file, speaker) that are no utterance, and the reason that rejected.csv gives."""

PHONES = [(0, 0.1, ""), (0.1, 0.2, "HH"), (0.2, 0.3, "AH0")]


def textgrid(
    phones: list[tuple[float | str, float | str, str]], tier: str = "phones", encoding: str = "utf-8"
) -> Maker:
    """Writes a TextGrid with one tier."""
    return lambda path: path.write_text(grid((tier, phones), xmax=0.3), encoding=encoding)


GRIDS: dict[str, tuple[Maker, str]] = {
    "missing": (lambda path: None, "this utterance has no TextGrid"),
    "empty": (Path.touch, "not a readable TextGrid"),
    "cut": (lambda path: path.write_text(grid(("phones", PHONES), xmax=0.3)[:-90]), "cut off"),
    "overlapping": (textgrid([(0, 0.2, "HH"), (0.1, 0.3, "AH0")]), "overlap"),
    "reversed": (textgrid([(0.2, 0.1, "HH")]), "is reversed or empty"),
    "negative": (textgrid([(-0.1, 0.2, "HH")]), "starts before 0"),
    "out of range": (textgrid([(0.1, 2.0, "HH")]), "ends after the utterance (0.300 s)"),
    "no number": (textgrid([("nan", 0.2, "HH")]), "not a readable TextGrid"),
    "another tier": (textgrid(PHONES, tier="segments"), "no intervals in a tier 'phones'"),
    "another alphabet": (textgrid([(0, 0.2, "ɹ")]), "'ɹ' is not an ARPABET phone"),
    "latin-1": (textgrid([(0, 0.2, "é")], encoding="latin-1"), "not a readable TextGrid"),
    "itself": (lambda path: path.symlink_to(path.name), "not a readable TextGrid"),
}
"""TextGrids that cannot be used: their maker, and the reason that rejected.csv gives."""

READ_GRIDS: dict[str, Maker] = {
    "utf-16": textgrid(PHONES, encoding="utf-16"),
    "utf-8-bom": textgrid(PHONES, encoding="utf-8-sig"),
    "mfa": textgrid(PHONES, tier="ann - phones"),
    "capitals": textgrid(PHONES, tier="PHONES"),
}

TEXTS: dict[str, tuple[str, str]] = {
    "none": ("", "no transcript to align to"),
    "dashes": ("— –", "no transcript to align to"),
    "another script": ("семь", "the word 'семь' has letters that are not Latin"),
}
"""Transcripts that nothing can be aligned to, and the reason."""

PARAMS: dict[str, tuple[str, list[str]]] = {
    "an unknown key": ("corpus: {takse: 2}", ["corpus.takse: unknown key", "'takes'"]),
    "no YAML": ("corpus: [1", ["params.yaml", "not readable YAML"]),
    "a Python object": ("corpus: !!python/object/apply:os.system ['touch owned']", ["params.yaml"]),
    "no such source": ("codecs: {dac: {kind: dac}}\ncorpus: {source: timit}", ["corpus.source", "'timit'"]),
}
"""Contents of params.yaml that are refused, and what the line must say; tests/config has more."""
