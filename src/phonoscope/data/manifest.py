"""The manifest: a row an utterance."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import pandas as pd
import pyarrow as pa

from phonoscope.data.tables import naming, read_frame
from phonoscope.errors import DataError
from phonoscope.files import write_parquet

TEXTS = ("utterance", "path", "text", "speaker", "sex", "accent", "word", "sha256", "split")  # columns of text


def manifest_schema() -> pa.Schema:
    """Columns of manifest.parquet, one row an utterance."""
    texts = [(name, pa.string()) for name in TEXTS]
    return pa.schema([*texts[:-2], ("duration_s", pa.float64()), ("sample_rate", pa.int32()), *texts[-2:]])


@dataclass(frozen=True)
class Manifest:
    """The utterances of a corpus."""

    table: pd.DataFrame
    """A row an utterance: `utterance` (id), `path` (below the corpus folder), `text` (transcript), `speaker`, `sex` (F,
    M), `accent`, `word` (of an isolated word), `duration_s`, `sample_rate` (Hz), `sha256` (of the file), `split` (the
    corpus's official one). Only `utterance` is required; other texts are empty where they are not known."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read manifest.parquet. Raises `DataError` if it is missing, not readable or not valid."""
        with naming(path):
            manifest = cls(read_frame(path))
            manifest.validate()
            return manifest

    @classmethod
    def from_arrays(cls, utterance: Sequence[str], **columns: Sequence[Any]) -> Self:
        """From a value an utterance in each column; texts that are not given are empty. Raises `DataError`."""
        if other := {name: len(values) for name, values in columns.items() if len(values) != len(utterance)}:
            raise DataError(f"{len(utterance)} utterances, but columns of other lengths: {other}")
        given = {"utterance": list(utterance)} | {name: list(values) for name, values in columns.items()}
        manifest = cls(pd.DataFrame({name: [""] * len(utterance) for name in TEXTS} | given))
        manifest.validate()
        return manifest

    def save(self, path: Path) -> None:
        """Write manifest.parquet."""
        fields = [field for field in manifest_schema() if field.name in self.table]
        write_parquet(path, pa.Table.from_pandas(self.table, schema=pa.schema(fields), preserve_index=False))

    def validate(self) -> None:
        """Raise `DataError` unless every utterance has one row."""
        if "utterance" not in self.table:
            raise DataError("a manifest needs the column utterance")
        names = self.table["utterance"]
        if names.duplicated().any():
            raise DataError(f"utterance {names[names.duplicated()].iloc[0]!r} has more than one row")

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, column: str) -> list[Any]:
        """A column: a value an utterance. Raises `DataError` if there is no such column."""
        if column not in self.table:
            raise DataError(f"the manifest lacks the column {column}")
        return self.table[column].tolist()

    @property
    def utterances(self) -> list[str]:
        """Utterance ids, in the manifest's order."""
        return self["utterance"]

    def by_utterance(self, column: str) -> dict[str, Any]:
        """A column as a mapping of utterance id to value."""
        return dict(zip(self.utterances, self[column], strict=True))

    def select(self, utterances: Iterable[str]) -> Self:
        """The rows of these utterances, in the manifest's order; ids that it lacks are ignored."""
        return replace(self, table=self.table[self.table["utterance"].isin(list(utterances))].reset_index(drop=True))
