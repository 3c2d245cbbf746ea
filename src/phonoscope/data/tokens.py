"""Token tables: one row a frame, a column of codes a layer; the one reader of them."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from phonoscope.data.codebooks import MAX_CODES
from phonoscope.data.labels import Labels
from phonoscope.data.tables import text_column
from phonoscope.errors import DataError
from phonoscope.files import atomic_file

BATCH_FRAMES = 65_536
SLACK_FRAMES = 1.0  # how far an utterance's frames may be from duration x rate: codecs round up, down or to the nearest
_METADATA = b"phonoscope"
_BY_FRAME = ("utterances", "frames", "codes", "phones", "f0_hz")


@dataclass(frozen=True)
class Frames:
    """A batch of frames."""

    utterances: NDArray[np.int64]  # [n], indices into the utterances asked for
    frames: NDArray[np.int64]  # [n], frame numbers within the utterance
    codes: NDArray[np.int64]  # [n, layers]
    phones: NDArray[np.int64]  # [n], indices into `phone_names`; -1 where a phone is unknown
    phone_names: tuple[str, ...]
    f0_hz: NDArray[np.float64]  # [n], NaN where unvoiced or unknown

    def __len__(self) -> int:
        return len(self.utterances)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """The frames where `keep` [n] is true, or at these positions."""
        return replace(self, **{name: getattr(self, name)[keep] for name in _BY_FRAME})


@dataclass(frozen=True)
class Tokens:
    """The codes of utterances: a Parquet file, or the same table in memory.

    Columns: utterance, frame (0, 1, ... within an utterance), code_1 ... code_L. Sizes of the codebooks and frame rate
    are metadata of its schema. An utterance's frames are in order.
    """

    source: Path | pa.Table
    sizes: tuple[int, ...]  # codes of each layer's codebook, [L]
    frame_rate_hz: float  # frames a second; 0 where it is not known

    @classmethod
    def load(cls, path: Path, sizes: Sequence[int] | None = None, frame_rate_hz: float | None = None) -> Self:
        """Open a token table, checking its columns; codes are checked as they are read.

        `sizes` and `frame_rate_hz` default to the file's metadata. Raises `DataError`.
        """
        if not path.is_file():
            raise DataError(f"{path}: no such token table")
        try:
            schema = pq.read_schema(path)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{path}: not a readable token table ({error})") from error
        metadata = json.loads((schema.metadata or {}).get(_METADATA, b"{}"))
        known = sizes if sizes is not None else metadata.get("sizes")
        if known is None:
            raise DataError(f"{path}: its schema does not name the sizes of the codebooks")
        rate = frame_rate_hz if frame_rate_hz is not None else metadata.get("frame_rate_hz", 0.0)
        tokens = cls(path, tuple(int(size) for size in known), float(rate))
        tokens._check_columns(schema.names)
        return tokens

    @classmethod
    def from_arrays(
        cls, codes: Mapping[str, NDArray[Any]], sizes: Sequence[int] | None = None, frame_rate_hz: float = 0.0
    ) -> Self:
        """From the codes [L, F] of each utterance; `sizes` default to the largest code of each layer + 1.

        Raises `DataError` for arrays of different layers, or codes outside their codebook.
        """
        if not codes:
            raise DataError("no utterance")
        arrays = {str(name): np.asarray(array) for name, array in codes.items()}
        layers = {array.shape[0] if array.ndim == 2 else 0 for array in arrays.values()}
        if len(layers) > 1 or 0 in layers:
            raise DataError("the codes of every utterance should be [layers, frames], with the same layers")
        stacked = np.concatenate(list(arrays.values()), axis=1)
        if sizes is None:
            sizes = [int(row.max(initial=0)) + 1 for row in stacked]
        if len(sizes) != len(stacked):
            raise DataError(f"codes of {len(stacked)} layers for codebooks of {len(sizes)}")
        lengths = {name: array.shape[1] for name, array in arrays.items()}
        frame = np.concatenate([np.arange(length, dtype=np.int32) for length in lengths.values()])
        tokens = cls(pa.table({}), tuple(int(size) for size in sizes), frame_rate_hz)
        tokens._check_codes(stacked.T, "codes")
        columns: dict[str, Any] = {"utterance": text_column(lengths), "frame": frame}
        columns |= dict(zip(tokens.code_columns, stacked.astype(np.int16), strict=True))
        return replace(tokens, source=pa.table(columns, schema=tokens.schema))

    @property
    def layers(self) -> int:
        """RVQ layers (L)."""
        return len(self.sizes)

    @property
    def code_columns(self) -> list[str]:
        """Names of the columns of codes, layer by layer."""
        return [f"code_{layer}" for layer in range(1, self.layers + 1)]

    @property
    def schema(self) -> pa.Schema:
        """Columns and metadata of the table."""
        metadata = json.dumps({"frame_rate_hz": self.frame_rate_hz, "sizes": list(self.sizes)}, sort_keys=True)
        columns = [("utterance", pa.dictionary(pa.int32(), pa.string())), ("frame", pa.int32())]
        columns += [(name, pa.int16()) for name in self.code_columns]
        return pa.schema(columns, metadata={_METADATA: metadata.encode()})

    @property
    def name(self) -> str:
        """The file, for messages."""
        return str(self.source) if isinstance(self.source, Path) else "tokens"

    @property
    def utterances(self) -> list[str]:
        """Utterances that have a frame, in order of appearance."""
        return list(self.lengths())

    def lengths(self) -> dict[str, int]:
        """Frames of each utterance, in order of appearance."""
        counts = Counter[str]()
        for batch in self._record_batches(["utterance"], BATCH_FRAMES):
            counts.update({str(each["values"]): each["counts"] for each in batch.column(0).value_counts().to_pylist()})
        return dict(counts)

    def batches(
        self,
        utterances: Sequence[str] | None = None,
        labels: Labels | None = None,
        *,
        layers: int | None = None,
        batch_frames: int = BATCH_FRAMES,
    ) -> Iterator[Frames]:
        """Read the table batch by batch, in constant memory.

        Args:
            utterances: whose frames are wanted, in any order, and what `Frames.utterances` indexes; default
                `self.utterances`. Frames of other utterances are skipped.
            labels: phone and F0 of the frames; frames of utterances without labels are skipped.
            layers: number of layers to read, from the first; default all.
            batch_frames: rows of the table read at a time.

        Raises `DataError` for a code that its codebook does not have, or a table that cannot be read.
        """
        asked = self.utterances if utterances is None else list(utterances)
        known = set(asked) if labels is None else set(asked).intersection(labels.utterances)
        wanted = pa.array([name if name in known else None for name in asked], pa.string())
        codes = self.code_columns[:layers]
        for batch in self._record_batches(["utterance", "frame", *codes], batch_frames):
            index = pc.index_in(batch.column(0).cast(pa.string()), value_set=wanted)
            batch, index = batch.filter(index.is_valid()), index.drop_null()
            if n := len(index):
                matrix = np.column_stack([column.to_numpy() for column in batch.columns[2:]]).astype(np.int64)
                self._check_codes(matrix, self.name)
                of, numbers = index.to_numpy().astype(np.int64), batch.column(1).to_numpy().astype(np.int64)
                frames = Frames(of, numbers, matrix, np.full(n, -1, dtype=np.int64), (), np.full(n, np.nan))
                yield frames if labels is None else join(frames, asked, labels, self.frame_rate_hz)

    def codes(self, utterances: Sequence[str] | None = None, layers: int | None = None) -> dict[str, NDArray[np.int16]]:
        """The codes [L, F] of each utterance, all in memory."""
        asked = self.utterances if utterances is None else list(utterances)
        parts: dict[str, list[NDArray[np.int16]]] = {}
        for batch in self.batches(asked, layers=layers):
            for rows in _run_rows(batch.utterances):
                name = asked[batch.utterances[rows.start]]
                parts.setdefault(name, []).append(batch.codes[rows].T.astype(np.int16))
        return {name: np.concatenate(parts[name], axis=1) for name in asked if name in parts}

    def usage(self) -> list[NDArray[np.int64]]:
        """How often each code occurs, one [K_l] a layer."""
        counts = [np.zeros(size, dtype=np.int64) for size in self.sizes]
        for batch in self.batches():
            for total, codes, size in zip(counts, batch.codes.T, self.sizes, strict=True):
                total += np.bincount(codes, minlength=size)
        return counts

    def save(self, path: Path) -> None:
        """Write the table to a Parquet file."""
        with self.writer(path, self.sizes, self.frame_rate_hz) as add:
            add(self)

    @staticmethod
    @contextmanager
    def writer(path: Path, sizes: Sequence[int], frame_rate_hz: float) -> Iterator[Any]:
        """Write a table part by part: yields a function that appends `Tokens` of the same codebooks as a row group."""
        target = Tokens(path, tuple(sizes), frame_rate_hz)
        with atomic_file(path) as temporary, pq.ParquetWriter(temporary, target.schema, compression="zstd") as file:

            def add(part: Tokens) -> None:
                table = pq.read_table(part.source) if isinstance(part.source, Path) else part.source
                table = table.unify_dictionaries().cast(target.schema)
                file.write_table(table, row_group_size=max(1, table.num_rows))

            yield add

    def validate(self) -> None:
        """Read everything. Raises `DataError` for the first fault that `faults` finds."""
        for fault in self.faults():
            raise DataError(f"{self.name}: {fault}")

    def faults(self, durations_s: Mapping[str, float] | None = None) -> Iterator[str]:
        """Codes outside their codebook, frames not in order, utterances that are not as long as their audio.

        Args:
            durations_s: seconds of audio of every utterance that may occur; by default lengths are not checked.
        """
        lengths: dict[str, int] = {}
        for batch in self._record_batches(["utterance", "frame", *self.code_columns], BATCH_FRAMES):
            encoded = batch.column(0).cast(pa.string()).dictionary_encode()
            names, index = encoded.dictionary.to_pylist(), encoded.indices.to_numpy()
            for layer, (column, size) in enumerate(zip(batch.columns[2:], self.sizes, strict=True), start=1):
                codes = column.to_numpy()
                outside = np.flatnonzero((codes < 0) | (codes >= size))
                if len(outside):
                    where = names[index[outside[0]]]
                    yield f"layer {layer}, {where}: code {codes[outside[0]]} is not in a codebook of {size}"
            frames = batch.column(1).to_numpy()
            for rows in _run_rows(index):
                name = names[index[rows.start]]
                start = lengths.get(name, 0)
                lengths[name] = start + rows.stop - rows.start
                if not np.array_equal(frames[rows], np.arange(start, lengths[name])):
                    yield f"{name}: its frames are not numbered 0, 1, 2, ... in order"
        if durations_s is None:
            return
        for name, length in lengths.items():
            if name not in durations_s:
                yield f"{name} is not in the manifest"
            elif abs(length - durations_s[name] * self.frame_rate_hz) > SLACK_FRAMES:
                yield f"{name}: {length} frames for {durations_s[name]:.3f} s at {self.frame_rate_hz:g} a second"

    def _record_batches(self, columns: Sequence[str], batch_frames: int) -> Iterator[pa.RecordBatch]:
        """Some columns of the table. Raises `DataError` if the file cannot be read."""
        if not isinstance(self.source, Path):
            yield from self.source.select(list(columns)).to_batches(max_chunksize=batch_frames)
            return
        try:
            with pq.ParquetFile(self.source) as file:
                yield from file.iter_batches(batch_size=batch_frames, columns=list(columns))
        except FileNotFoundError as error:
            raise DataError(f"{self.name}: no such token table") from error
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.name}: not a readable token table ({error})") from error

    def _check_columns(self, names: Sequence[str]) -> None:
        """Raise `DataError` if a column is missing, or there are codes of more layers."""
        if missing := [name for name in ("utterance", "frame", *self.code_columns) if name not in names]:
            raise DataError(f"{self.name}: lacks the column {missing[0]}")
        there = sum(name.startswith("code_") for name in names)
        if there != self.layers:
            raise DataError(f"{self.name}: {there} columns of codes for codebooks of {self.layers} layers")

    def _check_codes(self, codes: NDArray[Any], name: str) -> None:
        """Raise `DataError` unless codes [n, l] are in the codebooks of the first l layers."""
        if not codes.size:
            return
        for layer, (low, high) in enumerate(zip(codes.min(axis=0), codes.max(axis=0), strict=True), start=1):
            size = self.sizes[layer - 1]
            if low < 0 or high >= min(size, MAX_CODES):
                raise DataError(f"{name}: codes of layer {layer} from {low} to {high} for a codebook of {size}")


def join(frames: Frames, utterances: Sequence[str], labels: Labels, frame_rate_hz: float) -> Frames:
    """The frames with their phones and F0; `utterances` are what `frames.utterances` indexes."""
    phones, f0_hz = np.empty(len(frames), dtype=np.int64), np.empty(len(frames))
    for rows in _run_rows(frames.utterances):
        name, numbers = utterances[frames.utterances[rows.start]], frames.frames[rows]
        phones[rows] = labels.phones(name, numbers, frame_rate_hz)
        f0_hz[rows] = labels.f0_hz(name, numbers, frame_rate_hz)
    return replace(frames, phones=phones, phone_names=labels.phone_names, f0_hz=f0_hz)


def concatenate(parts: Sequence[Frames]) -> Frames:
    """Several batches of one reading as one. Raises `ValueError` if there is none."""
    columns = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _BY_FRAME}
    return Frames(**columns, phone_names=parts[0].phone_names)


def _run_rows(utterances: NDArray[np.int64]) -> Iterator[slice]:
    """Runs of rows of one utterance."""
    bounds = [0, *(np.flatnonzero(np.diff(utterances)) + 1).tolist(), len(utterances)]
    for start, stop in pairwise(bounds):
        if stop > start:
            yield slice(start, stop)
