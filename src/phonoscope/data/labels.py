"""Labels of frames: phones as intervals in time and F0 as tracks, joined by frame rate."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from phonoscope.data.phones import SILENCE
from phonoscope.data.tables import naming, read_frame, rows_by_utterance, text_column
from phonoscope.errors import DataError
from phonoscope.files import write_parquet

Index = NDArray[np.int64]
Track = tuple[NDArray[np.float64], NDArray[np.float32]]  # of F0: times in seconds [n], and Hz [n], NaN where unvoiced

PHONES_FILE, WORDS_FILE, F0_FILE = "phones.parquet", "words.parquet", "f0.parquet"
FILES = (PHONES_FILE, WORDS_FILE, F0_FILE)
HOP_S = 0.01  # the F0 grid: value k of a track is centred at k * 0.01 s
_NO_ROWS: Any = np.empty(0, np.int64)
_DECIMALS = 9  # overlaps that differ by less than a nanosecond are a tie


class Interval(NamedTuple):
    """A label from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True)
class Alignment:
    """The words and the phones of one utterance, each in time order, without gaps or overlaps."""

    words: list[Interval]
    phones: list[Interval]


def frame_labels(intervals: Sequence[Interval], n_frames: int, frame_rate_hz: float) -> NDArray[np.str_]:
    """Label every frame with the interval that overlaps it most.

    Frame i covers [i / rate, (i + 1) / rate). Of equal overlaps the earlier interval wins; a frame that no interval
    covers is `SIL`. Each interval counts alone: two intervals of one phone within a frame are not added up.
    Intervals may come in any order. Returns: strings of shape [n_frames].
    """
    starts = np.array([interval.start_s for interval in intervals], dtype=np.float64)
    ends = np.array([interval.end_s for interval in intervals], dtype=np.float64)
    names = np.array([*(interval.label for interval in intervals), SILENCE])
    return names[widest_interval(starts, ends, n_frames, frame_rate_hz)]  # -1 is the last name


def widest_interval(
    starts_s: NDArray[np.float64], ends_s: NDArray[np.float64], n_frames: int, frame_rate_hz: float
) -> Index:
    """The interval that overlaps each frame most, [n_frames]; -1 where none does. See `frame_labels`."""
    order = np.lexsort((ends_s, starts_s))
    starts, ends = starts_s[order], ends_s[order]
    # every (frame, interval) pair that can touch; one frame more on each side for rounding
    first = np.clip(np.floor(starts * frame_rate_hz).astype(np.int64) - 1, 0, n_frames)
    last = np.clip(np.ceil(ends * frame_rate_hz).astype(np.int64) + 1, first, n_frames)
    counts = last - first
    interval = np.repeat(np.arange(len(starts)), counts)
    frame = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[interval]
    # seconds of overlap of each pair; the best pair of a frame comes first in the sorted order
    overlap = np.minimum(ends[interval], (frame + 1) / frame_rate_hz) - np.maximum(
        starts[interval], frame / frame_rate_hz
    )
    overlap = overlap.round(_DECIMALS)
    ranked = np.lexsort((interval, -overlap, frame))
    ranked = ranked[overlap[ranked] > 0]
    labelled, winner = np.unique(frame[ranked], return_index=True)
    choice = np.full(n_frames, -1, dtype=np.int64)
    choice[labelled] = order[interval[ranked][winner]]
    return choice


def sample_f0(
    times_s: NDArray[np.float64], f0_hz: NDArray[np.float32], at_s: NDArray[np.float64]
) -> NDArray[np.float32]:
    """F0 at any times, such as the exact centres (i + 0.5) / rate of a codec's frames.

    Linear between the two neighbours on the track's uniform grid; NaN if either neighbour is unvoiced, and outside the
    track. A time that falls on the grid has one neighbour. Shapes: [n], [n], [points] -> [points].
    """
    if len(times_s) == 0:
        return np.full(len(at_s), np.nan, dtype=np.float32)
    position = np.round((np.asarray(at_s) - times_s[0]) / HOP_S, 6)
    left = np.floor(position).astype(np.int64)
    share = position - left
    inside = (left >= 0) & (left + (share > 0) < len(times_s))
    left = np.where(inside, left, 0)
    right = np.where(inside & (share > 0), left + 1, left)
    value = f0_hz[left] + share * (f0_hz[right] - f0_hz[left])
    return np.where(inside, value, np.nan).astype(np.float32)


def label_tables(alignments: Mapping[str, Alignment], tracks: Mapping[str, Track]) -> dict[str, pa.Table]:
    """The tables of `TimeLabels` by the names of their files."""

    def intervals(by_utterance: dict[str, list[Interval]]) -> pa.Table:
        every = [interval for each in by_utterance.values() for interval in each]
        return pa.table(
            {
                "utterance": text_column({name: len(each) for name, each in by_utterance.items()}),
                "start_s": pa.array([interval.start_s for interval in every], pa.float64()),
                "end_s": pa.array([interval.end_s for interval in every], pa.float64()),
                "label": pa.array([interval.label for interval in every], pa.string()).dictionary_encode(),
            }
        )

    f0 = {
        "utterance": text_column({name: len(times_s) for name, (times_s, _) in tracks.items()}),
        "time_s": np.concatenate([np.empty(0), *(times_s for times_s, _ in tracks.values())]),
        "f0_hz": np.concatenate([np.empty(0, np.float32), *(f0_hz for _, f0_hz in tracks.values())]),
    }
    phones = intervals({name: alignment.phones for name, alignment in alignments.items()})
    words = intervals({name: alignment.words for name, alignment in alignments.items()})
    return {PHONES_FILE: phones, WORDS_FILE: words, F0_FILE: pa.table(f0)}


class Labels(ABC):
    """Phone and F0 of any frame of some utterances.

    `load` and `from_intervals` give labels in time, which are joined to frames of any rate; `from_frames` gives labels
    that belong to the frames of one token table.
    """

    @staticmethod
    def load(folder: Path) -> "TimeLabels":
        """Read phones.parquet, words.parquet and f0.parquet of a folder. Raises `DataError`."""
        with naming(folder):
            labels = TimeLabels(*(read_frame(folder / name) for name in FILES))
            labels.validate()
            return labels

    @staticmethod
    def from_intervals(alignments: Mapping[str, Alignment], tracks: Mapping[str, Track] | None = None) -> "TimeLabels":
        """From words and phones, and perhaps an F0 track, of each utterance. Raises `DataError`."""
        labels = TimeLabels(*(table.to_pandas() for table in label_tables(alignments, tracks or {}).values()))
        labels.validate()
        return labels

    @staticmethod
    def from_frames(
        utterance: Sequence[str] | NDArray[Any],
        phone: Sequence[str | None] | NDArray[Any] | None = None,
        f0_hz: NDArray[Any] | Sequence[float] | None = None,
    ) -> "FrameLabels":
        """From a phone and an F0 a frame, [n] each, the frames of an utterance in order.

        A phone of None or "" is unknown, an F0 of NaN unvoiced; a column that is not given is unknown everywhere.
        Raises `DataError` for columns of different lengths.
        """
        n = len(utterance)
        names = pd.Series(np.asarray(utterance, dtype=object))
        phones = pd.Categorical([None] * n if phone is None else [name or None for name in phone])
        f0 = np.full(n, np.nan) if f0_hz is None else np.asarray(f0_hz)
        if not n == len(phones) == len(f0):
            raise DataError(f"{n} frames, but {len(phones)} phones and {len(f0)} values of F0")
        known = tuple(str(name) for name in phones.categories)
        return FrameLabels(known, rows_by_utterance(names), phones.codes.astype(np.int16), f0.astype(np.float32))

    @property
    @abstractmethod
    def utterances(self) -> list[str]:
        """Utterances that have labels."""

    @property
    @abstractmethod
    def phone_names(self) -> tuple[str, ...]:
        """Sorted names of all phones."""

    @abstractmethod
    def phones(self, utterance: str, frames: Index, frame_rate_hz: float) -> Index:
        """The phone of each of `frames` [n] as an index into `phone_names`, -1 where it is unknown."""

    @abstractmethod
    def f0_hz(self, utterance: str, frames: Index, frame_rate_hz: float) -> NDArray[np.float64]:
        """F0 of each of `frames` [n], NaN where unvoiced or unknown."""


@dataclass(frozen=True)
class TimeLabels(Labels):
    """Phones and words as intervals, F0 as tracks.

    A frame has the phone that overlaps it most, and the F0 of its exact centre (`frame_labels`, `sample_f0`).
    """

    phone_table: pd.DataFrame  # utterance, start_s, end_s, label (ARPABET, silence is SIL)
    word_table: pd.DataFrame  # utterance, start_s, end_s, label
    f0_table: pd.DataFrame  # utterance, time_s (every 10 ms), f0_hz

    def save(self, folder: Path) -> None:
        """Write phones.parquet, words.parquet and f0.parquet."""
        for name, table in self._tables.items():
            plain = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
            write_parquet(folder / name, plain)

    def validate(self) -> None:
        """Raise `DataError` for a table without its columns, or an interval that is reversed."""
        for name, table in self._tables.items():
            values = {"time_s", "f0_hz"} if name == F0_FILE else set(Interval._fields)
            if missing := {"utterance", *values} - set(table.columns):
                raise DataError(f"{name} lacks the column {min(missing)}")
            if name != F0_FILE and not (forward := table["end_s"] > table["start_s"]).all():
                raise DataError(f"{name}: an interval of {table['utterance'][~forward].iloc[0]!r} is reversed or empty")

    def alignment(self, utterance: str) -> Alignment:
        """Words and phones of one utterance. Raises `DataError` if it has none."""
        if utterance not in self._rows[PHONES_FILE]:
            raise DataError(f"utterance {utterance!r} is not aligned")

        def intervals(name: str) -> list[Interval]:
            table = self._tables[name].iloc[self._rows[name].get(utterance, _NO_ROWS)]
            return [Interval(*row) for row in table[list(Interval._fields)].itertuples(index=False)]

        return Alignment(intervals(WORDS_FILE), intervals(PHONES_FILE))

    @property
    def utterances(self) -> list[str]:
        return list(self._rows[PHONES_FILE])

    @cached_property
    def phone_names(self) -> tuple[str, ...]:
        return tuple(sorted({SILENCE, *self.phone_table["label"].astype(str).unique()}))

    def phones(self, utterance: str, frames: Index, frame_rate_hz: float) -> Index:
        starts, ends, labels = self._phones
        rows = self._rows[PHONES_FILE][utterance]
        choice = widest_interval(starts[rows], ends[rows], int(frames.max(initial=-1)) + 1, frame_rate_hz)[frames]
        return np.where(choice >= 0, labels[rows][choice], self.phone_names.index(SILENCE))

    def f0_hz(self, utterance: str, frames: Index, frame_rate_hz: float) -> NDArray[np.float64]:
        times_s, f0_hz = self._tracks
        rows = self._rows[F0_FILE].get(utterance, _NO_ROWS)
        centres_s = np.asarray((frames + 0.5) / frame_rate_hz, dtype=np.float64)
        return sample_f0(times_s[rows], f0_hz[rows], centres_s).astype(np.float64)

    @property
    def _tables(self) -> dict[str, pd.DataFrame]:
        return {PHONES_FILE: self.phone_table, WORDS_FILE: self.word_table, F0_FILE: self.f0_table}

    @cached_property
    def _rows(self) -> dict[str, dict[str, Index]]:
        """Rows of each utterance in the three tables."""
        return {name: rows_by_utterance(table["utterance"]) for name, table in self._tables.items()}

    @cached_property
    def _phones(self) -> tuple[NDArray[np.float64], NDArray[np.float64], Index]:
        starts_s, ends_s = (self.phone_table[name].to_numpy(np.float64) for name in ("start_s", "end_s"))
        places = {name: place for place, name in enumerate(self.phone_names)}
        labels = np.asarray(self.phone_table["label"].astype(str).map(places), dtype=np.int64)
        return starts_s, ends_s, labels

    @cached_property
    def _tracks(self) -> Track:
        return self.f0_table["time_s"].to_numpy(np.float64), self.f0_table["f0_hz"].to_numpy(np.float32)


@dataclass(frozen=True)
class FrameLabels(Labels):
    """A phone and an F0 of every frame of a token table. The frame rate plays no part."""

    names: tuple[str, ...]  # sorted names of all phones
    rows: dict[str, Index]  # by utterance: the row of each of its frames
    phone: NDArray[np.int16]  # [rows], indices into `names`, -1 where unknown
    f0: NDArray[np.float32]  # [rows], Hz

    @property
    def utterances(self) -> list[str]:
        return list(self.rows)

    @property
    def phone_names(self) -> tuple[str, ...]:
        return self.names

    def phones(self, utterance: str, frames: Index, frame_rate_hz: float) -> Index:
        return self.phone[self._at(utterance, frames)].astype(np.int64)

    def f0_hz(self, utterance: str, frames: Index, frame_rate_hz: float) -> NDArray[np.float64]:
        return self.f0[self._at(utterance, frames)].astype(np.float64)

    def _at(self, utterance: str, frames: Index) -> Index:
        rows = self.rows[utterance]
        if len(frames) and frames.max() >= len(rows):
            raise DataError(f"utterance {utterance!r} has labels of {len(rows)} frames, none of frame {frames.max()}")
        return rows[frames]
