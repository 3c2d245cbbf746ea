"""LibriSpeech's layout: `<subset>/<speaker>/<chapter>/<utterance>.flac`, `*.trans.txt`, `SPEAKERS.TXT` (CC BY 4.0)."""

from collections.abc import Iterator
from pathlib import Path

from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus.items import AudioFile, RawItem, Rejected, sex_code
from phonoscope.corpus.tables import read_text
from phonoscope.errors import DataError, ParamsError


def read_sexes(path: Path) -> dict[str, str]:
    """Speaker id -> `F` or `M`, from SPEAKERS.TXT (`id | sex | subset | minutes | name`, comments begin with `;`)."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; give the LibriSpeech folder that holds SPEAKERS.TXT")
    rows = [line.split("|") for line in read_text(path).splitlines() if line.strip()[:1] not in ";"]
    return {row[0].strip(): sex_code(row[1]) for row in rows if len(row) > 1}


def _transcripts(chapter: Path) -> dict[str, str]:
    lines = [line for path in sorted(chapter.glob("*.trans.txt")) for line in read_text(path).splitlines()]
    return {utterance: text.strip() for utterance, _, text in (line.strip().partition(" ") for line in lines)}


def subset_folders(root: Path, subset: str) -> list[Path]:
    """The folder of `subset`, or of every subset in `root`. Raises `ParamsError` naming the subsets that are there."""
    there = sorted(path for path in root.iterdir() if path.is_dir() and next(path.glob("*/*/*.flac"), None))
    if not there:
        raise DataError(f"{root}: no <subset>/<speaker>/<chapter>/*.flac; give the folder that holds SPEAKERS.TXT")
    chosen = [path for path in there if subset in ("", path.name)]
    if not chosen:
        raise ParamsError(f"subset: no {subset!r} in {root}; there are {', '.join(p.name for p in there)}")
    return chosen


def read(root: Path, config: CorpusConfig) -> Iterator[RawItem | Rejected]:
    """Utterances under LibriSpeech's ids; one without a transcript is rejected. Raises `DataError`, `ParamsError`."""
    root = root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root
    sexes = read_sexes(root / "SPEAKERS.TXT")
    for folder in subset_folders(root, config.subset):
        for chapter in sorted(path for path in folder.glob("*/*") if path.is_dir()):
            texts = _transcripts(chapter)
            for path in sorted(chapter.glob("*.flac")):
                origin, speaker = path.relative_to(root).as_posix(), chapter.parent.name
                if not texts.get(path.stem):
                    yield Rejected(origin, "no line in the chapter's .trans.txt")
                    continue
                sex, text = sexes.get(speaker, ""), texts[path.stem]
                yield RawItem(path.stem, speaker, chapter.name, origin, AudioFile(path), text, sex=sex)
