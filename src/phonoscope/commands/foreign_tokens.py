"""Tokens that another program made, checked against the schema of docs/probe-tables.md."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from phonoscope.data import Labels, Manifest, Split, Tokens
from phonoscope.data.codebooks import MAX_CODES
from phonoscope.data.phones import SILENCE, SILENCE_NAMES
from phonoscope.errors import DataError
from phonoscope.files import read_safetensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.config.corpus import SplitConfig

FRAME_LABELS = ("phone", "f0_hz")
UTTERANCE_LABELS = ("speaker", "sex", "accent", "word", "text", "split")


@dataclass(frozen=True)
class ForeignTokens:
    """A token table of another program, in the form that the probes read; `columns` are the labels that it has."""

    tokens: Tokens
    codebooks: list[NDArray[np.float32]]
    """One [codes, dims] a layer; dims may differ."""
    manifest: Manifest
    """The utterances, sorted, with `UTTERANCE_LABELS`; missing labels are empty texts."""
    labels: Labels
    columns: frozenset[str]

    def split(self, config: SplitConfig) -> Split:
        """The split of the column split, or one drawn as in the pipeline."""
        from phonoscope.corpus.split import make_split

        return make_split(self.manifest, config.model_copy(update={"official": "split" in self.columns}))


def read_codebooks(path: Path) -> list[NDArray[np.float32]]:
    """The tensors layer_1, layer_2, ... [codes, dims]. Raises `DataError` if one is missing or does not fit."""
    tensors, _ = read_safetensors(path)
    names = {name for name in tensors if re.fullmatch(r"layer_[1-9]\d*", name)}
    layers = [f"layer_{layer}" for layer in range(1, len(names) + 1)]
    if not layers or names != set(layers):
        raise DataError(f"{path}: should hold the tensors layer_1, layer_2, ..., one a layer; has {sorted(names)}")
    books = {name: tensors[name].float().numpy() for name in layers}
    codes = len(books["layer_1"])
    for name, book in books.items():
        if book.ndim != 2 or len(book) != codes or not book.size:
            raise DataError(f"{path}: {name} is {list(book.shape)}, not [codes, dims] with as many codes as layer_1")
        if not np.isfinite(book).all():
            raise DataError(f"{path}: {name} has values that are not finite")
    if codes > MAX_CODES:
        raise DataError(f"{path}: {codes} codes a layer; at most {MAX_CODES} can be probed")
    return list(books.values())


def read_tokens(path: Path, codebooks: Path) -> ForeignTokens:
    """Read and check every value. Raises `DataError` with file, column, row and reason for a wrong value."""
    books = read_codebooks(codebooks)
    if not path.is_file():
        raise DataError(f"{path}: no such file of tokens")
    try:
        schema = pq.read_schema(path)
        codes = _check_columns(path, schema, len(books))
        given = [name for name in (*FRAME_LABELS, *UTTERANCE_LABELS) if name in schema.names]
        table = _Table(path, pq.read_table(path, columns=["utterance", *given, *codes]).combine_chunks())
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not readable as a Parquet table of tokens ({error})") from error
    if not len(table.table):
        raise DataError(f"{path}: holds no frames")
    utterance = table.text("utterance")
    table.refuse(utterance == "", "utterance", "is empty")
    frame = utterance.groupby(utterance).cumcount().to_numpy(np.int32)
    columns: dict[str, Any] = {"utterance": pd.Categorical(utterance), "frame": frame}
    columns |= {name: table.codes(name, len(books[0])) for name in codes}
    tokens = Tokens(pa.table({}), tuple(map(len, books)), 0.0)
    tokens = Tokens(pa.Table.from_pydict(columns, schema=tokens.schema), tokens.sizes, 0.0)
    labels = Labels.from_frames(utterance.tolist(), table.phones().tolist(), table.f0())
    utterances = pd.DataFrame({"utterance": utterance, **{name: table.text(name) for name in UTTERANCE_LABELS}})
    return ForeignTokens(tokens, books, _manifest(path, utterances), labels, frozenset(given))


def _check_columns(path: Path, schema: pa.Schema, layers: int) -> list[str]:
    """The columns of codes. Raises `DataError` for a missing column, an excess column, or one without integers."""
    codes = [f"code_{layer}" for layer in range(1, layers + 1)]
    present = {name for name in schema.names if re.fullmatch(r"code_\d+", name)}
    if missing := [name for name in ("utterance", *codes) if name not in schema.names]:
        raise DataError(f"{path}: lacks the column {missing[0]}; {layers} codebooks need code_1 to code_{layers}")
    if present != set(codes):
        raise DataError(f"{path}: has {len(present)} columns of codes for {layers} codebooks")
    for field in schema:
        whole = pa.types.is_integer(field.type)
        if field.name in codes and not whole:
            raise DataError(f"{path}: {field.name} is {field.type}, not an integer type")
        if field.name == "f0_hz" and not (whole or pa.types.is_floating(field.type)):
            raise DataError(f"{path}: f0_hz is {field.type}, not numbers")
    return codes


@dataclass(frozen=True)
class _Table:
    """The columns of one file, checked as they are read."""

    path: Path
    table: pa.Table

    def text(self, name: str) -> pd.Series[str]:
        """A column as texts; null is an empty text, and so is every row of a missing column."""
        if name not in self.table.column_names:
            return pd.Series([""] * len(self.table), dtype=object)
        return self.table.column(name).cast(pa.string()).fill_null("").to_pandas().astype(object)

    def phones(self) -> pd.Series[str]:
        names = self.text("phone").str.strip()
        return names.mask((names != "") & names.str.lower().isin(SILENCE_NAMES), SILENCE)

    def f0(self) -> NDArray[np.float64]:
        """F0; NaN for null and 0."""
        if "f0_hz" not in self.table.column_names:
            return np.full(len(self.table), np.nan)
        values = self.table.column("f0_hz").cast(pa.float64()).fill_null(np.nan).to_numpy()
        self.refuse(np.isinf(values) | (values < 0), "f0_hz", "is no frequency; leave it empty, NaN or 0 if unvoiced")
        return np.where(values == 0, np.nan, values)

    def codes(self, name: str, size: int) -> NDArray[np.int16]:
        column = self.table.column(name)
        self.refuse(column.is_null().to_numpy(), name, "is empty")
        values = column.to_numpy()
        outside = (values < 0) | (values >= size)
        self.refuse(outside, name, f"is no code; the codebook has {size}, from 0 to {size - 1}")
        return values.astype(np.int16)

    def refuse(self, wrong: Any, name: str, reason: str) -> None:
        """Raise `DataError` with the first row that is wrong."""
        rows = np.flatnonzero(wrong)
        if len(rows):
            raise DataError(f"{self.path}: {name} in row {rows[0]} {reason}")


def _manifest(path: Path, frames: pd.DataFrame) -> Manifest:
    """One row an utterance. Raises `DataError` if a label changes within one."""
    table = frames.drop_duplicates().sort_values("utterance").reset_index(drop=True)
    values = table.groupby("utterance").nunique()
    for column in UTTERANCE_LABELS:
        if (changing := values[values[column] > 1]).size:
            name = changing.index[0]
            raise DataError(f"{path}: {column} changes within utterance {name!r}; it belongs to the whole utterance")
    sides = set(table["split"])
    if sides not in ({""}, {"train", "eval"}):
        raise DataError(f"{path}: split holds {sorted(sides)}; each utterance is train or eval, and both must occur")
    if set(table["speaker"]) > {""}:
        name = table.loc[table["speaker"] == "", "utterance"].iloc[0]
        raise DataError(f"{path}: utterance {name!r} has no speaker, while others have; name all speakers or none")
    return Manifest(table)
