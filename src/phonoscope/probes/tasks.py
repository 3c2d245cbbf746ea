"""The three questions asked of a layer: which phone, which speaker, which pitch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np

from phonoscope.compute import derive_seed
from phonoscope.probes import controls
from phonoscope.probes.model import Probe
from phonoscope.probes.scores import ClassStatistics, ValueStatistics
from phonoscope.probes.solvers import fit_probe, fit_ridge
from phonoscope.probes.tables import ClassTable, ValueTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.config.probes import ClassifierConfig, PitchConfig
    from phonoscope.probes.stream import Frames

Table = TypeVar("Table", ClassTable, ValueTable)
Statistics = TypeVar("Statistics", ClassStatistics, ValueStatistics)
Predictions = dict[str, "NDArray[Any]"]

SILENCE = "SIL"
METRICS = {"phone": ("macro_f1", "accuracy"), "speaker": ("macro_f1", "accuracy"), "pitch": ("r2", "mae_hz")}


class Fit(NamedTuple):
    """A probe and what it and each control predict for every code, [codes]: class indices or values.

    Controls are named `permuted_<draw>`, `lookup_<metric>` and `majority`. `converged` speaks for the permuted
    probes too.
    """

    probe: Probe
    predictions: Predictions
    converged: bool


class Task(ABC, Generic[Table, Statistics]):
    """A task counts frames into tables, fits a table, and scores predictions by code."""

    name: str

    @property
    def metrics(self) -> tuple[str, ...]:
        return METRICS[self.name]

    @abstractmethod
    def count(self, frames: Frames, size: int) -> list[Table] | None:
        """One table a layer with `size` codes; None if no frame belongs to the task."""

    @abstractmethod
    def unite(self, train: Table, evaluation: Table) -> tuple[Table, Table]:
        """Bring the two tables to the same columns."""

    @abstractmethod
    def fit(self, table: Table, codebook: NDArray[Any]) -> Probe:
        """Fit the probe."""

    @abstractmethod
    def predict(self, probe: Probe, table: Table, codebook: NDArray[Any]) -> NDArray[Any]:
        """The probe's prediction for every code, in the table's columns."""

    @abstractmethod
    def readouts(self, table: Table) -> Predictions:
        """`lookup_<metric>` and `majority`."""

    @abstractmethod
    def score(
        self, frames: Frames, layer: int, predictions: Predictions, evaluation: range, train: Table
    ) -> dict[str, Statistics]:
        """Statistics of each prediction on eval frames, whose utterance indices lie in `evaluation`.

        The probe's are kept by utterance, the controls' are summed.
        """

    def fit_with_controls(self, table: Table, codebook: NDArray[Any], permutations: int, seed: int) -> Fit:
        """Fit the probe, then refit it on `permutations` codebooks with their rows shuffled over the used codes."""
        probe = self.fit(table, codebook)
        predictions = {"probe": self.predict(probe, table, codebook), **self.readouts(table)}
        converged = probe.converged
        for draw in range(1, permutations + 1):
            shuffled = controls.permute_rows(codebook, table.frames > 0, derive_seed(seed, "permuted", draw))
            refitted = self.fit(table, shuffled)
            predictions[f"permuted_{draw}"] = self.predict(refitted, table, shuffled)
            converged &= refitted.converged
        return Fit(probe, predictions, converged)


class ClassTask(Task[ClassTable, ClassStatistics]):
    """Logistic regression of a frame's class."""

    def __init__(self, config: ClassifierConfig, tolerance: float) -> None:
        self.config, self.tolerance = config, tolerance

    @abstractmethod
    def labels(self, frames: Frames) -> tuple[NDArray[np.bool_], NDArray[np.int64], Sequence[str]]:
        """Which frames [n] belong to the task, their labels [kept], and the labels' names."""

    def count(self, frames: Frames, size: int) -> list[ClassTable] | None:
        keep, labels, names = self.labels(frames)
        if not keep.any():
            return None
        present = np.bincount(labels, minlength=len(names)) > 0
        dense = (np.cumsum(present) - 1)[labels]
        classes = [name for name, there in zip(names, present, strict=True) if there]
        return [ClassTable.from_frames(codes, dense, classes, size) for codes in frames.codes[keep].T]

    def unite(self, train: ClassTable, evaluation: ClassTable) -> tuple[ClassTable, ClassTable]:
        classes = tuple(sorted({*train.classes, *evaluation.classes}))
        return train.reindex(classes), evaluation.reindex(classes)

    def fit(self, table: ClassTable, codebook: NDArray[Any]) -> Probe:
        settings = self.config.model_dump(include={"C", "class_weight", "max_iter"})
        return fit_probe(table, codebook, tolerance=self.tolerance, **settings)

    def predict(self, probe: Probe, table: ClassTable, codebook: NDArray[Any]) -> NDArray[Any]:
        column = np.array([table.classes.index(name) for name in probe.classes])
        return column[probe.predict(codebook)]

    def readouts(self, table: ClassTable) -> Predictions:
        return {
            "lookup_macro_f1": controls.smoothed_lookup_classes(table, self.config.class_weight),
            "lookup_accuracy": controls.lookup_classes(table),
            "majority": np.full(len(table.counts), controls.majority_class(table)),
        }

    def score(
        self, frames: Frames, layer: int, predictions: Predictions, evaluation: range, train: ClassTable
    ) -> dict[str, ClassStatistics]:
        keep, labels, names = self.labels(frames)
        column = {name: i for i, name in enumerate(train.classes)}
        index = np.array([column.get(name, -1) for name in names], dtype=np.int64)
        true, codes = index[labels], frames.codes[keep, layer]

        def statistics(name: str) -> ClassStatistics:
            rows, size = _rows(name, frames.utterances[keep], evaluation)
            return ClassStatistics.from_frames(rows, true, predictions[name][codes], (size, len(train.classes)))

        return {name: statistics(name) for name in predictions}


class PhoneTask(ClassTask):
    """Which phone a frame belongs to. Silence is left out unless `silence` is true."""

    name = "phone"

    def __init__(self, config: ClassifierConfig, tolerance: float, *, silence: bool) -> None:
        super().__init__(config, tolerance)
        self.silence = silence

    def labels(self, frames: Frames) -> tuple[NDArray[np.bool_], NDArray[np.int64], Sequence[str]]:
        keep = frames.phones >= 0
        if not self.silence and SILENCE in frames.phone_names:
            keep &= frames.phones != frames.phone_names.index(SILENCE)
        return keep, frames.phones[keep], frames.phone_names


class SpeakerTask(ClassTask):
    """Who speaks a frame, of the speakers known from training. `speakers` names the speaker of every utterance."""

    name = "speaker"

    def __init__(self, config: ClassifierConfig, tolerance: float, *, speakers: Sequence[str]) -> None:
        super().__init__(config, tolerance)
        self.names, self.speaker = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)

    def labels(self, frames: Frames) -> tuple[NDArray[np.bool_], NDArray[np.int64], Sequence[str]]:
        return np.ones(len(frames.utterances), dtype=bool), self.speaker[frames.utterances], self.names.tolist()


@dataclass
class PitchTask(Task[ValueTable, ValueStatistics]):
    """The F0 of a voiced frame in Hz, by linear regression."""

    config: PitchConfig
    name = "pitch"

    def count(self, frames: Frames, size: int) -> list[ValueTable] | None:
        voiced = np.isfinite(frames.f0_hz)
        if not voiced.any():
            return None
        return [ValueTable.from_frames(codes, frames.f0_hz[voiced], size) for codes in frames.codes[voiced].T]

    def unite(self, train: ValueTable, evaluation: ValueTable) -> tuple[ValueTable, ValueTable]:
        return train, evaluation

    def fit(self, table: ValueTable, codebook: NDArray[Any]) -> Probe:
        return fit_ridge(table, codebook, alpha=self.config.alpha)

    def predict(self, probe: Probe, table: ValueTable, codebook: NDArray[Any]) -> NDArray[Any]:
        return probe.predict(codebook)

    def readouts(self, table: ValueTable) -> Predictions:
        means = controls.lookup_values(table)
        return {"lookup_r2": means, "lookup_mae_hz": means, "majority": np.full(len(means), table.mean)}

    def score(
        self, frames: Frames, layer: int, predictions: Predictions, evaluation: range, train: ValueTable
    ) -> dict[str, ValueStatistics]:
        voiced = frames.select(np.isfinite(frames.f0_hz))
        codes, values = voiced.codes[:, layer], voiced.f0_hz

        def statistics(name: str) -> ValueStatistics:
            rows, size = _rows(name, voiced.utterances, evaluation)
            return ValueStatistics.from_frames(rows, values, predictions[name][codes], size, train.mean)

        return {name: statistics(name) for name in predictions}


def _rows(name: str, utterances: NDArray[np.int64], evaluation: range) -> tuple[NDArray[np.int64], int]:
    """Row of each frame in a prediction's statistics: its utterance for the probe, one for all for a control."""
    if name == "probe":
        return utterances - evaluation.start, len(evaluation)
    return np.zeros_like(utterances), 1
