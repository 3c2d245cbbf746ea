"""Any audio files with a `metadata.csv`: columns file and speaker; text, sex, accent, word and split if known."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus.items import AudioFile, RawItem, Rejected, sex_code, slug
from phonoscope.corpus.tables import read_rows


def _problem(row: dict[str, str]) -> str:
    path = PurePosixPath(row["file"])
    if not row["file"] or not row["speaker"]:
        return "file or speaker is empty"
    if not path.name:
        return f"file is {row['file']!r}, which names no file"
    if path.is_absolute() or ".." in path.parts or "\\" in row["file"]:
        return "file must be a path below the corpus's folder, with forward slashes and without '..'"
    if row.get("split", "") not in ("", "train", "eval"):
        return f"split is {row['split']!r}; it must be train, eval or empty"
    return ""


def read(root: Path, config: CorpusConfig) -> Iterator[RawItem | Rejected]:
    """Utterances `<speaker>-0-<file>`: `file` without its suffix, made safe, folders joined by `_`.

    Raises `DataError` if metadata.csv is missing or lacks a column.
    """
    for row in read_rows(root / "metadata.csv", required=("file", "speaker")):
        if problem := _problem(row):
            yield Rejected(row["file"], problem)
            continue
        speaker, audio = slug(row["speaker"]), AudioFile(root / row["file"])
        name = f"{speaker}-0-{slug(str(PurePosixPath(row['file']).with_suffix('')))}"
        known = {column: row.get(column, "") for column in ("text", "accent", "word", "split")}
        yield RawItem(name, speaker, "0", row["file"], audio, sex=sex_code(row.get("sex", "")), **known)
