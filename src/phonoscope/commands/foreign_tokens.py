"""Tokens that another program made: checked against the schema of docs/probe-tables.md, in the form of our own."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from phonoscope.corpus.split import make_split
from phonoscope.data.phones import SILENCE, SILENCE_NAMES
from phonoscope.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.config.corpus import SplitConfig

FRAME_LABELS = ("phone", "f0_hz")
UTTERANCE_LABELS = ("speaker", "sex", "accent", "word", "text", "split")
MOST_CODES = 1 << 15  # codes are kept as int16


@dataclass(frozen=True)
class ForeignTokens:
    """What the probes need."""

    tokens: Path
    """A token table of our own form."""
    codebooks: list[NDArray[np.float32]]
    """One [codes, dims] a layer."""
    manifest: pd.DataFrame
    """utterance and `UTTERANCE_LABELS`, a row an utterance, sorted; an empty text where a label is not given."""
    labels: frozenset[str]
    """The optional columns that the table has."""

    def split(self, config: SplitConfig) -> dict[str, Any]:
        """`train`, `eval` and `speaker_folds`: as the column split says, or drawn as the pipeline's are."""
        given = "split" in self.labels
        return asdict(make_split(self.manifest, config.model_copy(update={"official": given})))


def read_codebooks(path: Path) -> list[NDArray[np.float32]]:
    """The tensors layer_1, layer_2, ... [codes, dims]. Raises `DataError` if they are not there or do not fit."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise DataError(f"{path}: no such file of codebooks")
    try:
        with safe_open(path, framework="pt") as file:
            names = {name for name in file.keys() if re.fullmatch(r"layer_[1-9]\d*", name)}  # noqa: SIM118 (not a dict)
            layers = [f"layer_{layer}" for layer in range(1, len(names) + 1)]
            if not layers or names != set(layers):
                raise DataError(
                    f"{path}: should hold the tensors layer_1, layer_2, ..., one a layer; has {sorted(names)}"
                )
            books = [file.get_tensor(name).float().numpy() for name in layers]
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: not a readable safetensors file ({error})") from error
    for name, book in zip(layers, books, strict=True):
        if book.ndim != 2 or book.shape[0] != books[0].shape[0] or not book.size:
            raise DataError(f"{path}: {name} is {list(book.shape)}, not [codes, dims] with as many codes as layer_1")
        if not np.isfinite(book).all():
            raise DataError(f"{path}: {name} has values that are not finite")
    if len(books[0]) > MOST_CODES:
        raise DataError(f"{path}: {len(books[0])} codes a layer; at most {MOST_CODES} can be probed")
    return books


def read_tokens(path: Path, codebooks: Path, folder: Path) -> ForeignTokens:
    """Read tokens batch by batch, check every value, and write them in our form into `folder`.

    Raises `DataError` naming file, column, row and reason for anything that the schema does not allow.
    """
    books = read_codebooks(codebooks)
    if not path.is_file():
        raise DataError(f"{path}: no such file of tokens")
    found: list[pd.DataFrame] = []
    try:
        with pq.ParquetFile(path) as file:
            reader = _Reader(path, file.schema_arrow, len(books), len(books[0]))
            with pq.ParquetWriter(folder / "tokens.parquet", reader.schema, compression="zstd") as writer:
                for batch in file.iter_batches(columns=reader.columns):
                    writer.write_batch(reader.checked(batch))
                    found.append(reader.utterances(batch))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not readable as a Parquet table of tokens ({error})") from error
    manifest = _manifest(path, pd.concat(found) if found else pd.DataFrame())
    return ForeignTokens(folder / "tokens.parquet", books, manifest, frozenset(reader.labels))


class _Reader:
    """Checks batches of one file, and brings them to our form."""

    def __init__(self, path: Path, schema: pa.Schema, layers: int, size: int) -> None:
        self.path, self.size, self.row = path, size, 0
        self.codes = [f"code_{layer}" for layer in range(1, layers + 1)]
        there = {name for name in schema.names if re.fullmatch(r"code_\d+", name)}
        missing = [name for name in ("utterance", *self.codes) if name not in schema.names]
        if missing:
            raise DataError(f"{path}: lacks the column {missing[0]}; {layers} codebooks need code_1 to code_{layers}")
        if there != set(self.codes):
            raise DataError(f"{path}: has {len(there)} columns of codes for {layers} codebooks")
        for name in self.codes:
            if not pa.types.is_integer(schema.field(name).type):
                raise DataError(f"{path}: {name} is {schema.field(name).type}, not an integer type")
        if "f0_hz" in schema.names and not _is_number(schema.field("f0_hz").type):
            raise DataError(f"{path}: f0_hz is {schema.field('f0_hz').type}, not numbers")
        self.labels = [name for name in (*FRAME_LABELS, *UTTERANCE_LABELS) if name in schema.names]
        self.columns = ["utterance", *self.labels, *self.codes]
        self.schema = pa.schema(
            [("utterance", pa.string()), ("frame", pa.int32()), ("phone", pa.string()), ("f0_hz", pa.float32())]
            + [(name, pa.int16()) for name in self.codes]
        )

    def checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch in our form."""
        arrays = [self._text(batch, "utterance"), pa.array(np.arange(self.row, self.row + len(batch), dtype=np.int32))]
        self._refuse(np.asarray(arrays[0]) == "", "utterance", "is empty")
        arrays += [self._phones(batch), self._f0(batch), *(self._codes(batch, name) for name in self.codes)]
        self.row += len(batch)
        return pa.record_batch(arrays, schema=self.schema)

    def utterances(self, batch: pa.RecordBatch) -> pd.DataFrame:
        """The labels of each utterance in the batch."""
        columns = {name: self._text(batch, name) for name in ("utterance", *UTTERANCE_LABELS)}
        return pa.table(columns).to_pandas().drop_duplicates()

    def _text(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        """A column as texts; empty ones for null, or where there is no such column."""
        if name not in batch.schema.names:
            return pa.array([""] * len(batch), pa.string())
        column = batch.column(name)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        return column.cast(pa.string()).fill_null("")

    def _phones(self, batch: pa.RecordBatch) -> pa.Array:
        phones = self._text(batch, "phone").dictionary_encode()
        if "phone" not in batch.schema.names:
            return pa.nulls(len(batch), pa.string())
        given = [str(name).strip() for name in phones.dictionary.to_pylist()]
        names = [None if not name else SILENCE if name.lower() in SILENCE_NAMES else name for name in given]
        return pa.array(names, pa.string()).take(phones.indices)

    def _f0(self, batch: pa.RecordBatch) -> pa.Array:
        """F0, NaN where it is null or 0."""
        if "f0_hz" not in batch.schema.names:
            return pa.array(np.full(len(batch), np.nan, dtype=np.float32))
        values = batch.column("f0_hz").cast(pa.float64()).fill_null(np.nan).to_numpy(zero_copy_only=False)
        self._refuse(np.isinf(values) | (values < 0), "f0_hz", "is no frequency; leave it empty, NaN or 0 if unvoiced")
        return pa.array(np.where(values == 0, np.nan, values).astype(np.float32))

    def _codes(self, batch: pa.RecordBatch, name: str) -> pa.Array:
        column = batch.column(name)
        self._refuse(column.is_null().to_numpy(zero_copy_only=False), name, "is empty")
        values = column.to_numpy(zero_copy_only=False)
        outside = (values < 0) | (values >= self.size)
        self._refuse(outside, name, f"is no code; the codebook has {self.size}, from 0 to {self.size - 1}")
        return pa.array(values.astype(np.int16))

    def _refuse(self, wrong: NDArray[np.bool_], name: str, reason: str) -> None:
        if wrong.any():
            raise DataError(f"{self.path}: {name} in row {self.row + int(wrong.argmax())} {reason}")


def _is_number(kind: pa.DataType) -> bool:
    return pa.types.is_floating(kind) or pa.types.is_integer(kind)


def _manifest(path: Path, found: pd.DataFrame) -> pd.DataFrame:
    """One row an utterance. Raises `DataError` if there is none, or a label changes within one."""
    if found.empty:
        raise DataError(f"{path}: holds no frames")
    manifest = found.drop_duplicates().sort_values("utterance").reset_index(drop=True)
    twice = manifest[manifest["utterance"].duplicated(keep=False)]
    if len(twice):
        name = twice["utterance"].iloc[0]
        own = twice[twice["utterance"] == name]
        column = next(label for label in UTTERANCE_LABELS if own[label].nunique() > 1)
        raise DataError(f"{path}: {column} changes within utterance {name!r}; it belongs to the whole utterance")
    sides = set(manifest["split"])
    if sides not in ({""}, {"train", "eval"}):
        raise DataError(f"{path}: split holds {sorted(sides)}; each utterance is train or eval, and both must occur")
    if set(manifest["speaker"]) > {""}:
        name = manifest.loc[manifest["speaker"] == "", "utterance"].iloc[0]
        raise DataError(f"{path}: utterance {name!r} has no speaker, while others have; name all speakers or none")
    return manifest
