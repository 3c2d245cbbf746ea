"""Speech Commands (Warden 2018): `<word>/<speaker>_nohash_<n>.wav` and the lists of the official split (CC BY 4.0)."""

from collections.abc import Iterator
from pathlib import Path

from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus.items import AudioFile, RawItem, Rejected
from phonoscope.corpus.tables import read_text
from phonoscope.errors import DataError, ParamsError

DIVIDER = "_nohash_"
NO_WORDS = "_background_noise_"


def _words(root: Path, wanted: tuple[str, ...]) -> list[str]:
    there = sorted(p.name for p in root.iterdir() if p.is_dir() and p.name != NO_WORDS and next(p.glob("*.wav"), None))
    if not there:
        raise DataError(f"{root}: no <word>/<speaker>_nohash_<n>.wav there")
    if missing := sorted(set(wanted) - set(there)):
        raise ParamsError(f"words: no {', '.join(missing)} in {root}; there are {', '.join(there)}")
    return [word for word in there if not wanted or word in wanted]


def read(root: Path, config: CorpusConfig) -> Iterator[RawItem | Rejected]:
    """Utterances `<speaker>-<word>-<n>`; those of testing_list.txt are eval, all others train.

    Raises: `DataError` if no words are there, `ParamsError` if a word of `corpus.words` is not.
    """
    root = [root, *sorted(root.glob("SpeechCommands/speech_commands_v*"))][-1]  # where torchaudio unpacks it
    listing = root / "testing_list.txt"
    testing = set(read_text(listing).split()) if listing.is_file() else set()
    for word in _words(root, config.words):
        for path in sorted((root / word).glob("*.wav")):
            origin = path.relative_to(root).as_posix()
            speaker, divider, number = path.stem.partition(DIVIDER)
            if not divider or not number.isdigit():
                yield Rejected(origin, f"the name is not <speaker>{DIVIDER}<n>.wav")
                continue
            split = ("eval" if origin in testing else "train") if testing else ""
            name = f"{speaker}-{word}-{number}"
            yield RawItem(name, speaker, word, origin, AudioFile(path), word, word=word, split=split)
