"""The labelled frames of a token table, and tables of codes and targets counted as it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.data import Labels, Latents, Manifest, Tokens
from phonoscope.errors import DataError
from phonoscope.probes.frames import ArrayVectors
from phonoscope.probes.tables import ClassTable, Table, ValueTable, count_pairs
from phonoscope.probes.tasks import Task


class Groups(NamedTuple):
    """Utterances whose frames need not be told apart, so that counting them is enough."""

    of: NDArray[np.int64]  # the group of each utterance [utterances]; -1 where every frame is kept
    first: NDArray[np.int64]  # one utterance of each group, [groups]


@dataclass(frozen=True)
class LabelledFrames:
    """Frames of a token table that have labels, in its order."""

    utterances: NDArray[np.int64]  # [n], indices into the manifest
    codes: NDArray[np.int16]  # [n, layers]
    targets: dict[str, tuple[NDArray[Any], tuple[str, ...]]]  # by task: targets [n] and classes, as in `Examples`
    counted: dict[str, list[tuple[tuple[int, Table], ...]]] = field(default_factory=dict)
    """By task and layer: the frames beside the n, as in `Examples.counted`."""

    def places(self, manifest: Manifest) -> dict[str, NDArray[np.int64]]:
        """The rows of each utterance."""
        order = np.argsort(self.utterances, kind="stable")
        bounds = np.searchsorted(self.utterances[order], np.arange(len(manifest) + 1))
        return {name: order[bounds[i] : bounds[i + 1]] for i, name in enumerate(manifest.utterances)}

    def vectors(self, latents: Latents, manifest: Manifest) -> ArrayVectors:
        """The latents of the utterances that have them. Raises `DataError` for one with another number of frames."""
        index = np.full(len(self.utterances), -1)
        for name, rows in self.places(manifest).items():
            if name in latents:
                place = latents.places[name]
                _require_frames(name, place.stop - place.start, len(rows))
                index[rows] = np.arange(place.start, place.stop)
        return ArrayVectors(latents.values, index)

    def rows_of(self, codes: Mapping[str, NDArray[np.integer]], manifest: Manifest) -> NDArray[np.int16]:
        """Codes [L, F] of some utterances as rows, [n, L]; 0 for other utterances. Raises `DataError`."""
        layers = len(next(iter(codes.values())))
        rows, places = np.zeros((len(self.utterances), layers), dtype=np.int16), self.places(manifest)
        for name, part in codes.items():
            _require_frames(name, part.shape[1], len(places[name]))
            rows[places[name]] = part.T
        return rows


def _require_frames(utterance: str, there: int, tokens: int) -> None:
    if there != tokens:
        raise DataError(f"{utterance}: {there} frames, but {tokens} in the token table")


def read_frames(
    tokens: Tokens, labels: Labels, manifest: Manifest, tasks: Sequence[Task], groups: Groups | None = None
) -> LabelledFrames:
    """Read a token table batch by batch with the targets of every task.

    Frames of utterances in `groups` are added to tables and forgotten, all others kept. Classes are those that have a
    frame, sorted by name. Raises `DataError` if the table is not readable, or holds no frame that is labelled.
    """
    groups = groups or Groups(np.full(len(manifest), -1), np.empty(0, dtype=np.int64))
    shape, sizes = len(groups.first), np.array(tokens.sizes)
    columns = {task.name: (_Values if task.values else _Classes)(shape, tokens.sizes) for task in tasks}
    utterances, codes = [], []
    for frames in tokens.batches(manifest.utterances, labels):
        group = groups.of[frames.utterances]
        kept = group < 0
        # group and code in one number: the row of a table of all groups
        rows = (group[:, None] * sizes + frames.codes)[~kept]
        for task in tasks:
            columns[task.name].add(*task.read(frames, manifest), kept, rows)
        utterances.append(frames.utterances[kept])
        codes.append(frames.codes[kept].astype(np.int16))
    if not codes:
        raise DataError(f"{tokens.name}: no frames of the manifest's utterances")
    result = LabelledFrames(np.concatenate(utterances), np.concatenate(codes), {})
    for name, column in columns.items():
        target, classes, layers = column.united()
        result.targets[name] = target, classes
        if shape:
            result.counted[name] = [tuple(zip(groups.first.tolist(), tables, strict=True)) for tables in layers]
    return result


# targets of the kept frames, the classes, and the tables of the others by layer and group
United = tuple["NDArray[Any]", tuple[str, ...], list[list[Table]]]


class _Classes:
    """One classification, batch by batch."""

    def __init__(self, groups: int, sizes: Sequence[int]) -> None:
        self.shapes = [(groups, size) for size in sizes]
        self.place: dict[str, int] = {}  # classes in order of appearance: a batch need not name all
        self.kept: list[NDArray[np.int32]] = []
        self.counts = [np.zeros((groups * size, 0), dtype=np.int64) for size in sizes]

    def add(self, targets: NDArray[Any], names: Sequence[str], kept: NDArray[np.bool_], rows: NDArray[Any]) -> None:
        for name in names:
            self.place.setdefault(name, len(self.place))
        # the last entry stands for frames left out, whose index is -1
        index = np.array([*(self.place[name] for name in names), -1], dtype=np.int32)[targets]
        self.kept.append(index[kept])
        others = index[~kept]
        for layer, counts in enumerate(self.counts):
            wider = np.pad(counts, ((0, 0), (0, len(self.place) - counts.shape[1])))
            self.counts[layer] = wider + count_pairs(rows[others >= 0, layer], others[others >= 0], wider.shape)

    def united(self) -> United:
        targets = np.concatenate(self.kept)
        totals = np.bincount(targets[targets >= 0], minlength=len(self.place)) + self.counts[0].sum(axis=0)
        classes = tuple(sorted(name for name, at in self.place.items() if totals[at]))
        order = [self.place[name] for name in classes]
        column = np.full(len(self.place) + 1, -1)
        column[order] = np.arange(len(order))
        tables: list[list[ClassTable | ValueTable]] = [
            [ClassTable(classes, part) for part in counts[:, order].reshape(*shape, len(order))]
            for counts, shape in zip(self.counts, self.shapes, strict=True)
        ]
        return column[targets], classes, tables


class _Values:
    """One regression, batch by batch."""

    def __init__(self, groups: int, sizes: Sequence[int]) -> None:
        self.shapes = [(groups, size) for size in sizes]
        self.kept: list[NDArray[np.float64]] = []
        self.tables = [ValueTable.from_frames(np.empty(0, int), np.empty(0), groups * size) for size in sizes]

    def add(self, targets: NDArray[Any], names: Sequence[str], kept: NDArray[np.bool_], rows: NDArray[Any]) -> None:
        self.kept.append(targets[kept])
        others = targets[~kept]
        for table, codes in zip(self.tables, rows.T, strict=True):
            table.add(codes[np.isfinite(others)], others[np.isfinite(others)])

    def united(self) -> United:
        parts = [
            zip(*(part.reshape(shape) for part in (table.count, table.total, table.squares)), strict=True)
            for table, shape in zip(self.tables, self.shapes, strict=True)
        ]
        return np.concatenate(self.kept), (), [[ValueTable(*sums) for sums in layer] for layer in parts]
