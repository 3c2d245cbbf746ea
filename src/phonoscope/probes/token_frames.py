"""A token table read once: codes on disk, labels in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from phonoscope.errors import DataError
from phonoscope.probes.labels import Columns, find_task
from phonoscope.probes.stream import stream_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

Labels = tuple["NDArray[np.int64]", tuple[str, ...]]
"""Class index of each frame [n], -1 for a frame that is left out, and the classes."""


@dataclass(frozen=True)
class TokenFrames:
    """All frames of a token table, in its order."""

    utterances: NDArray[np.int64]
    """[n], indices into the manifest."""
    codes: NDArray[np.integer]
    """[n, layers], a memory map."""
    f0_hz: NDArray[np.float64]
    """[n], NaN where unvoiced."""
    labels: dict[str, Labels]
    """By task."""


def read_frames(
    tokens: Path, manifest: Columns, tasks: Iterable[str], folder: Path, *, layers: int, size: int
) -> TokenFrames:
    """Read a token table with columns code_1 ... code_`layers`; its codes go to a file in `folder`.

    `manifest` has the column utterance and those that `tasks` ask for. Raises `DataError` if the table is not readable,
    has an utterance that the manifest lacks, or a code not below `size`.
    """
    import pyarrow.parquet as pq

    known: Sequence[str] = list(manifest["utterance"])
    batches = stream_frames(tokens, known, layers=layers, size=size)
    posed = {name: find_task(name, "depth.tasks") for name in tasks}
    utterances, f0_hz = [], []
    named: dict[str, list[tuple[NDArray[np.int64], Sequence[str]]]] = {name: [] for name in posed}
    path = folder / "codes.bin"
    with path.open("wb") as file:
        for frames in batches:
            utterances.append(frames.utterances)
            f0_hz.append(frames.f0_hz)
            file.write(frames.codes.astype(np.int16).tobytes())
            for name, task in posed.items():
                named[name].append(task.labels(frames, manifest))
    total = sum(map(len, utterances))
    if total != pq.read_metadata(tokens).num_rows or not total:
        raise DataError(f"{tokens}: no frames, or frames of utterances that the manifest lacks; run `dvc repro encode`")
    codes = np.memmap(path, dtype=np.int16, mode="r", shape=(total, layers))
    labels = {name: _unite(parts) for name, parts in named.items()}
    return TokenFrames(np.concatenate(utterances), codes, np.concatenate(f0_hz), labels)


def _unite(parts: Sequence[tuple[NDArray[np.int64], Sequence[str]]]) -> Labels:
    """Labels of all batches under one list of classes."""
    classes = sorted({name for _, names in parts for name in names})
    column = {name: i for i, name in enumerate(classes)}
    united = [np.array([column[name] for name in names] + [-1], dtype=np.int64)[index] for index, names in parts]
    return np.concatenate(united), tuple(classes)
