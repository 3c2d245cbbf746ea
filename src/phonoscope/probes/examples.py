"""Labelled frames with their folds, and the scores of a probe on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phonoscope.errors import DataError
from phonoscope.probes.information import count_pairs, permute_labels
from phonoscope.probes.inputs import FrameInput, Input
from phonoscope.probes.scores import ClassStatistics
from phonoscope.probes.splits import Fold
from phonoscope.probes.vectors import ArrayVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.probes.inputs import AnyProbe

Fitter = Callable[[Input, "NDArray[np.int64]", Sequence[str]], tuple[Input, "AnyProbe"]]
"""Fits a probe to labels [n], negative for frames that are left out; returns it with the input that it reads."""


@dataclass(frozen=True)
class Examples:
    """One task's frames."""

    labels: NDArray[np.int64]
    """[n], indices into `classes`; negative for frames that are left out."""
    classes: tuple[str, ...]
    utterances: NDArray[np.int64]
    """[n]"""
    units: NDArray[np.int64]
    """Unit of each utterance that is resampled, [utterances]: the utterance itself, or its speaker."""
    folds: list[Fold]
    """Over utterances."""

    def frame_units(self) -> NDArray[np.int64]:
        """The unit of each frame [n]."""
        return self.units[self.utterances]

    def permuted(self, seed: int) -> Examples:
        """The null: each unit's labels from another unit."""
        keep, labels = self.labels >= 0, self.labels.copy()
        labels[keep] = permute_labels(labels[keep], self.frame_units()[keep], seed)
        return replace(self, labels=labels)

    def relabelled(self, labels: NDArray[np.int64]) -> Examples:
        """The same frames, with other labels [n] for those that have one."""
        return replace(self, labels=np.where(self.labels >= 0, labels, -1))

    def restricted(self, sample: NDArray[np.bool_]) -> Examples:
        """The frames of the utterances where `sample` [utterances] is true; the others are left out."""
        return self.relabelled(np.where(sample[self.utterances], self.labels, -1))

    def pooled(self, source: Input) -> tuple[Examples, Input]:
        """Utterances in place of frames: their labels, and their mean vectors."""
        kept, count = self.labels >= 0, len(self.units)
        labels = np.full(count, -1)
        labels[self.utterances[kept]] = self.labels[kept]
        means = source.means(self.utterances, count)
        return replace(self, labels=labels, utterances=np.arange(count)), FrameInput(ArrayVectors(means))

    def posable(self) -> bool:
        """Whether there is a fold with train frames of two classes and eval frames."""
        return any(self.can_score(fold) for fold in self.folds)

    def can_score(self, fold: Fold) -> bool:
        kept = self.labels >= 0
        classes = np.unique(self.labels[kept & fold.train[self.utterances]])
        return len(classes) > 1 and bool((kept & fold.evaluation[self.utterances]).any())


class Scores(NamedTuple):
    """A probe's scores on all folds' eval frames."""

    statistics: ClassStatistics
    """By unit."""
    confusion: NDArray[np.int64]
    """Frames by class and predicted class, [classes, classes]."""
    converged: bool

    def plus(self, other: Scores) -> Scores:
        """The scores on the eval frames of both."""
        converged = self.converged and other.converged
        return Scores(self.statistics + other.statistics, self.confusion + other.confusion, converged)


def score(examples: Examples, source: Input, fit: Fitter) -> Scores:
    """Fit on each fold's train frames and add up the scores on its eval frames.

    Folds whose train frames are all of one class are left out. Raises `DataError` if none is left.
    """
    shape = int(examples.units.max()) + 1, len(examples.classes)
    kept = examples.labels >= 0
    total: Scores | None = None
    for fold in examples.folds:
        if not examples.can_score(fold):
            continue
        training = kept & fold.train[examples.utterances]
        evaluation = kept & fold.evaluation[examples.utterances]
        reader, probe = fit(source, np.where(training, examples.labels, -1), examples.classes)
        column = np.array([examples.classes.index(name) for name in probe.classes])
        true, predicted = examples.labels[evaluation], column[reader.predict(probe, evaluation)]
        part = Scores(
            ClassStatistics.from_frames(examples.frame_units()[evaluation], true, predicted, shape),
            count_pairs(true, predicted, (shape[1], shape[1])),
            bool(getattr(probe, "converged", True)),
        )
        total = part if total is None else total.plus(part)
    if total is None:
        raise DataError("no fold has train frames of two classes and eval frames")
    return total
