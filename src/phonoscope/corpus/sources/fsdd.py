"""The Free Spoken Digit Dataset: `<digit>_<speaker>_<index>.wav`, six speakers, 8 kHz (CC BY-SA 4.0)."""

import re
from collections.abc import Iterator
from pathlib import Path

from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus.items import AudioFile, RawItem, Rejected
from phonoscope.errors import DataError

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# sex and accent from the corpus's metadata.py
SPEAKERS = {
    "george": ("M", "greek"),
    "jackson": ("M", "en-us"),
    "lucas": ("M", "german"),
    "nicolas": ("M", "belgian-french"),
    "theo": ("M", "en-us"),
    "yweweler": ("M", "german"),
}
_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_]+)_(?P<index>\d+)")


def read(root: Path, config: CorpusConfig) -> Iterator[RawItem | Rejected]:
    """Utterances `<speaker>-<digit>-<index>` with the official split: indices 0 to 4 are eval. Raises `DataError`."""
    inside = root / "recordings"  # as in the git archive
    paths = sorted((inside if inside.is_dir() else root).glob("*.wav"))
    if not paths:
        raise DataError(f"{root}: no <digit>_<speaker>_<index>.wav there; see docs/corpora.md for FSDD's layout")
    for path in paths:
        origin, match = path.relative_to(root).as_posix(), _NAME.fullmatch(path.stem)
        if match is None:
            yield Rejected(origin, "the name is not <digit>_<speaker>_<index>.wav")
            continue
        digit, speaker, index = int(match["digit"]), match["speaker"], int(match["index"])
        name, word, audio = f"{speaker}-{digit}-{index:02d}", DIGITS[digit], AudioFile(path)
        sex, accent = SPEAKERS.get(speaker, ("", ""))
        split = "eval" if index < 5 else "train"
        yield RawItem(name, speaker, str(digit), origin, audio, word, sex=sex, accent=accent, word=word, split=split)
