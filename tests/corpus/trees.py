"""Tiny corpora on disk, for the tests of sources and of the build."""

from pathlib import Path

import numpy as np
import soundfile as sf
from numpy.typing import NDArray


def tone(duration_s: float = 0.3, rate: int = 8000, hz: float = 220.0) -> NDArray[np.float32]:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(duration_s * rate)) / rate)).astype(np.float32)


def put(path: Path, samples: NDArray[np.float32] | None = None, rate: int = 8000, subtype: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sf.write(path, tone(rate=rate) if samples is None else samples, rate, subtype=subtype)
    return path


def fsdd(root: Path, speakers: tuple[str, ...] = ("jackson", "lucas"), count: int = 10) -> Path:
    for speaker in speakers:
        for digit in (0, 7):
            for index in range(count):
                put(root / f"{digit}_{speaker}_{index}.wav", tone(hz=150 + 10 * index))
    return root


def librispeech(root: Path) -> Path:
    for chapter_path in ("dev-clean/84/121", "dev-clean/84/122", "test-clean/61/70"):
        folder, (_, speaker, chapter) = root / chapter_path, chapter_path.split("/")
        for number in range(2):
            put(folder / f"{speaker}-{chapter}-{number:04d}.flac")
        lines = [f"{speaker}-{chapter}-{number:04d} SOME WORDS {number}" for number in range(2)]
        (folder / f"{speaker}-{chapter}.trans.txt").write_text("\n".join(lines) + "\n")
    (root / "SPEAKERS.TXT").write_text(
        ";ID  |SEX| SUBSET |MINUTES| NAME\n84 | F | dev-clean | 8.02 | A\n61 | M | test-clean | 8 | B | C\n"
    )
    return root
