"""Read a token table batch by batch, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from phonoscope.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

BATCH_FRAMES = 65_536


@dataclass(frozen=True)
class Frames:
    """A batch of frames."""

    utterances: NDArray[np.int64]
    """[n], indices into the utterances asked for."""
    codes: NDArray[np.int64]
    """[n, layers]"""
    phones: NDArray[np.int64]
    """[n], indices into `phone_names`; -1 where a frame has none."""
    phone_names: tuple[str, ...]
    f0_hz: NDArray[np.float64]
    """[n], NaN where unvoiced."""

    def select(self, keep: NDArray[np.bool_]) -> Frames:
        """The frames where `keep` [n] is true."""
        return Frames(self.utterances[keep], self.codes[keep], self.phones[keep], self.phone_names, self.f0_hz[keep])


def stream_frames(
    path: Path, utterances: Sequence[str], *, layers: int, size: int, batch_frames: int = BATCH_FRAMES
) -> Iterator[Frames]:
    """Yield the frames of `utterances` from a token table with columns code_1 ... code_`layers`.

    Frames of other utterances are skipped. Raises `DataError` if the table is missing or lacks a column, or a code is
    not below `size`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = pa.array(utterances, pa.string())
    columns = ["utterance", "phone", "f0_hz", *(f"code_{layer}" for layer in range(1, layers + 1))]
    if not path.exists():
        raise DataError(f"{path}: no such token table; run `dvc repro encode`")
    with pq.ParquetFile(path) as file:
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise DataError(f"{path}: lacks the columns {missing}; rebuild it with `dvc repro encode`")
        for batch in file.iter_batches(batch_size=batch_frames, columns=columns):
            yield _frames(batch, wanted, path, layers, size)


def _frames(batch: pa.RecordBatch, wanted: pa.Array, path: Path, layers: int, size: int) -> Frames:
    import pyarrow as pa
    import pyarrow.compute as pc

    index = pc.index_in(batch.column("utterance").cast(pa.string()), value_set=wanted)
    batch, index = batch.filter(index.is_valid()), index.drop_null()
    codes = np.column_stack([batch.column(f"code_{layer}").to_numpy() for layer in range(1, layers + 1)])
    if codes.size and not (codes.min() >= 0 and codes.max() < size):
        raise DataError(f"{path}: codes from {codes.min()} to {codes.max()} for a codebook of {size} rows")
    phones = batch.column("phone").dictionary_encode()
    return Frames(
        utterances=index.to_numpy(zero_copy_only=False).astype(np.int64),
        codes=codes.astype(np.int64),
        phones=phones.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64),
        phone_names=tuple(phones.dictionary.to_pylist()),
        f0_hz=batch.column("f0_hz").to_numpy(zero_copy_only=False).astype(np.float64),
    )
