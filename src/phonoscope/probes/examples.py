"""One task's frames with their targets, units and folds, and the scores of a probe on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.errors import DataError
from phonoscope.probes.frames import ArrayVectors
from phonoscope.probes.inputs import AnyProbe, FrameInput, Input
from phonoscope.probes.scores import ClassStatistics, Statistics, ValueStatistics
from phonoscope.probes.tables import count_pairs
from phonoscope.stats import permute_labels


class Fold(NamedTuple):
    """Which utterances train and which are scored, [utterances] each."""

    train: NDArray[np.bool_]
    evaluation: NDArray[np.bool_]


@dataclass(frozen=True)
class Examples:
    """Targets of frames. A classification if there are `classes`, a regression if there are none."""

    targets: NDArray[Any]  # [n], indices into `classes`, or values; negative or NaN for frames left out
    classes: tuple[str, ...]
    utterances: NDArray[np.int64]  # [n]
    units: NDArray[np.int64]  # what is resampled, by utterance [utterances]: the utterance itself, or its speaker
    folds: list[Fold]
    counted: tuple[tuple[int, Any], ...] = ()
    """Frames beside the n, which are known by count alone: tables of one layer's codes (`ClassTable`, `ValueTable`),
    each with an utterance that stands for all of its utterances."""
    kept: NDArray[np.bool_] = field(init=False, repr=False)  # which of the n frames have a target, [n]

    def __post_init__(self) -> None:
        object.__setattr__(self, "kept", self.targets >= 0 if self.classes else np.isfinite(self.targets))

    def frame_units(self) -> NDArray[np.int64]:
        """The unit of each frame [n]."""
        return self.units[self.utterances]

    def restricted(self, sample: NDArray[np.bool_]) -> Examples:
        """The frames of the utterances where `sample` [utterances] is true; the others are left out."""
        targets = np.where(sample[self.utterances], self.targets, -1 if self.classes else np.nan)
        return replace(self, targets=targets, counted=tuple(part for part in self.counted if sample[part[0]]))

    def permuted(self, seed: int) -> Examples:
        """The null: each unit's targets from another unit."""
        targets = self.targets.copy()
        targets[self.kept] = permute_labels(targets[self.kept], self.frame_units()[self.kept], seed)
        return replace(self, targets=targets)

    def pooled(self, source: Input) -> tuple[Examples, Input]:
        """Utterances in place of frames: their labels, and their mean vectors."""
        count = len(self.units)
        labels = np.full(count, -1)
        labels[self.utterances[self.kept]] = self.targets[self.kept]
        means = source.means(self.utterances, count)
        return replace(self, targets=labels, utterances=np.arange(count)), FrameInput(ArrayVectors(means))

    def totals(self) -> NDArray[np.int64]:
        """Frames by class, [classes]."""
        totals = np.bincount(self.targets[self.kept], minlength=len(self.classes))
        return sum((table.counts.sum(axis=0) for _, table in self.counted), totals)

    def mean(self) -> float:
        values = self.targets[self.kept]
        if not self.counted:
            return float(values.mean(dtype=np.float64)) if len(values) else 0.0
        # F0 is float32, whose sums in float64 are exact: the mean of tables is to the last bit that of the frames
        total = values.sum() + sum(table.total.sum() for _, table in self.counted)
        return float(total / max(len(values) + sum(table.count.sum() for _, table in self.counted), 1))

    def sides(self) -> Iterator[tuple[Examples, NDArray[np.bool_]]]:
        """Train examples and eval frames [n] of each fold that can be scored: train has two classes, or a value."""
        for fold in self.folds:
            train, evaluation = self.restricted(fold.train), self.kept & fold.evaluation[self.utterances]
            frames = train.kept.any() or any(table.frames.any() for _, table in train.counted)
            enough = (train.totals() > 0).sum() > 1 if self.classes else frames
            if enough and evaluation.any():
                yield train, evaluation

    def can_be_scored(self) -> bool:
        """Whether there is a fold for `score`."""
        return next(self.sides(), None) is not None

    def evaluated(self) -> NDArray[np.int64]:
        """The units that are held out in some fold, sorted."""
        held_out = np.any([fold.evaluation for fold in self.folds], axis=0)
        return np.unique(self.units[held_out])


# which frames [n] -> their classes, as indices into those of the examples, or their values
Predict = Callable[[NDArray[np.bool_]], NDArray[Any]]
Fitted = tuple[Predict, AnyProbe | None]
Fitter = Callable[[Input, Examples], Fitted]  # from an input's frames and the targets of the train examples


class Scores(NamedTuple):
    """A probe's scores on the eval frames of all folds."""

    statistics: Statistics  # by unit of `Examples.evaluated`
    confusion: NDArray[np.int64]  # frames by class and predicted class, [classes, classes]; empty for values
    converged: bool
    probe: AnyProbe | None  # of the last fold


def score(examples: Examples, source: Input, fit: Fitter) -> Scores:
    """Fit and score on the train and eval frames of each fold that can be scored. Raises `DataError` if none can."""
    units, classes = examples.evaluated(), len(examples.classes)
    row = np.searchsorted(units, examples.frame_units())
    # R2 is made of sums of squares: about a value near the mean they lose no digits
    origin = 0.0 if classes else examples.mean()
    total: Scores | None = None
    for train, evaluation in examples.sides():
        predict, probe = fit(source, train)
        converged = bool(getattr(probe, "converged", True)) and (total is None or total.converged)
        true, predicted, rows = examples.targets[evaluation], predict(evaluation), row[evaluation]
        statistics: Any
        if classes:
            statistics = ClassStatistics.from_frames(rows, true, predicted, (len(units), classes))
            confusion = count_pairs(true, predicted, (classes, classes))
        else:
            statistics = ValueStatistics.from_frames(rows, true, predicted, len(units), origin)
            confusion = np.zeros((0, 0), dtype=np.int64)
        if total is not None:
            statistics, confusion = total.statistics + statistics, total.confusion + confusion
        total = Scores(statistics, confusion, converged, probe)
    if total is None:
        raise DataError("no fold has train frames of two classes and eval frames")
    return total
