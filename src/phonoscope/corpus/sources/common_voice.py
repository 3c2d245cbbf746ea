"""Common Voice: a TSV (client_id, path, sentence, gender, accents) beside a folder `clips` (CC0)."""

from collections.abc import Iterator
from pathlib import Path

from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus.items import AudioFile, RawItem, Rejected, sex_code, slug
from phonoscope.corpus.tables import read_rows

SPEAKER_DIGITS = 16  # of client_id's 128 hexadecimal digits


def _accent(row: dict[str, str]) -> str:
    """The first accent a contributor named; the column's name changed with the releases."""
    named = row.get("accents") or row.get("accent") or ""
    return named.replace("|", ",").partition(",")[0].strip()


def read(root: Path, config: CorpusConfig) -> Iterator[RawItem | Rejected]:
    """Utterances `<speaker>-clips-<clip>` of one TSV (`corpus.subset`, default validated).

    With `corpus.max_utterances` the sample is balanced over the cells sex x accent. Raises `DataError`.
    """
    rows = read_rows(root / f"{config.subset or 'validated'}.tsv", required=("client_id", "path", "sentence"))
    for row in rows:
        clip, text = row["path"], row["sentence"]
        origin = f"clips/{clip}"
        if not row["client_id"] or not clip or not text:
            yield Rejected(origin, "client_id, path or sentence is empty")
            continue
        if Path(clip).name != clip:
            yield Rejected(origin, "the path is not a plain file name")
            continue
        speaker = slug(row["client_id"][:SPEAKER_DIGITS])
        name, audio = f"{speaker}-clips-{slug(Path(clip).stem)}", AudioFile(root / origin)
        sex, accent = sex_code(row.get("gender", "")), _accent(row)
        cell = f"{sex}/{accent}"
        yield RawItem(name, speaker, "clips", origin, audio, text, sex=sex, accent=accent, stratum=cell)
