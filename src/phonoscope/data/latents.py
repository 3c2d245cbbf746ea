"""The encoder's output before quantization: frame by frame for some utterances, as time-means for all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from phonoscope.data.tables import naming, open_array, read_frame
from phonoscope.errors import DataError
from phonoscope.files import write_parquet

VALUES_FILE, INDEX_FILE = "frame_latents.npy", "frame_latents.parquet"


@dataclass(frozen=True)
class Latents:
    """Frame latents of some utterances, the same frames as in the token table.

    On disk, in a folder: frame_latents.npy (float32 [frames, D], utterance after utterance) and frame_latents.parquet
    (utterance, frames: a row an utterance, in the same order).
    """

    values: NDArray[np.float32]  # [frames, D]; memory-mapped when read from disk
    utterances: tuple[str, ...]
    lengths: tuple[int, ...]  # frames of each utterance

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open a folder's frame latents. Raises `DataError` if they are missing, damaged or do not fit the index."""
        with naming(folder):
            values = open_array(folder / VALUES_FILE)
            index = read_frame(folder / INDEX_FILE, ["utterance", "frames"])
            latents = cls(values, tuple(index["utterance"].astype(str)), tuple(index["frames"].tolist()))
            latents.validate()
            return latents

    @classmethod
    def from_arrays(cls, latents: Mapping[str, NDArray[Any]]) -> Self:
        """From the latent [F, D] of each utterance."""
        arrays = [np.asarray(array, dtype=np.float32) for array in latents.values()]
        values = np.concatenate(arrays) if arrays else np.zeros((0, 0), np.float32)
        return cls(values, tuple(latents), tuple(map(len, arrays)))

    def save(self, folder: Path) -> None:
        """Write both files."""
        self.merge([self], folder)

    @staticmethod
    def merge(parts: Sequence["Latents"], folder: Path) -> None:
        """Write parts one after the other as one, holding one part in memory at a time."""
        shape = sum(len(part.values) for part in parts), max((part.values.shape[1] for part in parts), default=0)
        start = 0
        if shape[0]:
            target = np.lib.format.open_memmap(folder / VALUES_FILE, mode="w+", dtype=np.float32, shape=shape)
            for part in parts:
                if len(part.values):
                    target[start : start + len(part.values)] = part.values
                start += len(part.values)
            target.flush()
        else:  # an empty file cannot be mapped for writing
            np.save(folder / VALUES_FILE, np.zeros(shape, np.float32))
        utterances = [name for part in parts for name in part.utterances]
        lengths = [length for part in parts for length in part.lengths]
        table = {"utterance": pa.array(utterances, pa.string()), "frames": pa.array(lengths, pa.int64())}
        write_parquet(folder / INDEX_FILE, pa.table(table))

    def validate(self) -> None:
        """Raise `DataError` unless every row belongs to one utterance."""
        if self.values.ndim != 2 or len(self.values) != sum(self.lengths):
            raise DataError(f"latents of shape {list(self.values.shape)} for {sum(self.lengths)} frames")
        if len(set(self.utterances)) < len(self.utterances):
            raise DataError("the latents of an utterance are there twice")

    @cached_property
    def places(self) -> dict[str, slice]:
        """The rows of each utterance."""
        rows = zip(self.utterances, np.cumsum(self.lengths).tolist(), self.lengths, strict=True)
        return {name: slice(stop - length, stop) for name, stop, length in rows}

    def __contains__(self, utterance: str) -> bool:
        return utterance in self.places

    def __getitem__(self, utterance: str) -> NDArray[np.float32]:
        """The latent of one utterance, [F, D]. Raises `DataError` if it is not there."""
        if utterance not in self.places:
            raise DataError(f"no latent of {utterance!r}")
        return self.values[self.places[utterance]]


def mean_latent_table(latents: Mapping[str, NDArray[np.floating]]) -> pa.Table:
    """The time-mean of each utterance's latent [F, D]: columns utterance and latent, D float32 a row.

    An utterance without a frame has no mean, and no row.
    """
    means = {name: latent.mean(axis=0, dtype=np.float64) for name, latent in latents.items() if latent.size}
    dims = next((latent.shape[1] for latent in latents.values()), 0)
    values = np.concatenate([np.zeros(0), *means.values()]).astype(np.float32)
    rows = pa.FixedSizeListArray.from_arrays(pa.array(values), dims)
    return pa.table({"utterance": pa.array(list(means), pa.string()), "latent": rows})


def read_mean_latents(path: Path, utterances: Sequence[str]) -> NDArray[np.float64]:
    """The time-means of these utterances, [n, D]. Raises `DataError` if the table or an utterance is missing."""
    table = read_frame(path, ["utterance", "latent"]).set_index("utterance")["latent"]
    if missing := [name for name in utterances if name not in table.index]:
        raise DataError(f"{path}: no latent of {missing[0]!r}")
    return np.stack(table.loc[list(utterances)].to_list()).astype(np.float64) if utterances else np.zeros((0, 0))
