"""Tasks are posed: labelled frames become examples with folds and units."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonoscope.config.probes import ProbeConfig
from phonoscope.data import Manifest, Split
from phonoscope.probes.examples import Examples, Fold
from phonoscope.probes.reading import Groups, LabelledFrames
from phonoscope.probes.tasks import HeldOut, Task, find_classifications, find_tasks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Posed:
    """A task with its examples under one split."""

    task: Task
    split: str
    examples: Examples
    units: tuple[str, ...] = ()  # names of the units of `Examples.evaluated`
    probed: bool = True  # whether probes are fitted
    informed: bool = False  # whether mutual information is measured
    counted: Sequence[tuple[Any, ...]] = ()
    """`Examples.counted` of every layer, if any frames are counted; those of `examples` are the first layer's."""

    def at(self, layer: int) -> Posed:
        """The task on one layer, or without counted frames on any input."""
        examples = replace(self.examples, counted=self.counted[layer - 1]) if self.counted else self.examples
        return replace(self, examples=examples, counted=())


def pose(frames: LabelledFrames, manifest: Manifest, split: Split, config: ProbeConfig) -> list[Posed]:
    """The configured tasks with their examples. Tasks that the data cannot pose are left out with a warning.

    Raises `ParamsError` for an unknown task.
    """
    probed, informed = find_tasks(config.tasks), find_classifications(config.information)
    posed = []
    for task in {task.name: task for task in (*probed, *informed)}.values():
        for kind in _splits(task, config):
            folds = make_folds(kind, split, manifest, config.text_folds)
            unit_names, units = np.unique(np.asarray(manifest[task.unit], dtype=str), return_inverse=True)
            (targets, classes), counted = frames.targets[task.name], frames.counted.get(task.name, [()])
            examples = Examples(targets, classes, frames.utterances, units.astype(np.int64), folds, counted[0])
            if folds and (classes or task.values) and examples.can_be_scored():
                names = tuple(unit_names[examples.evaluated()].tolist())
                layers = counted if counted[0] else ()
                information = task in informed and kind == task.splits[0]
                posed.append(Posed(task, kind, examples, names, task in probed, information, layers))
            else:
                message = "%s: left out; train needs two classes or a value, and eval held-out %s"
                logger.warning(message, task.name, kind)
    return posed


def _splits(task: Task, config: ProbeConfig) -> Sequence[HeldOut]:
    return task.splits if config.every_split else task.splits[:1]


def sample_utterances(manifest: Manifest, split: Split, config: ProbeConfig) -> NDArray[np.bool_]:
    """Which utterances' frames probes are fitted and scored on, [utterances]: evenly spread over train and eval."""
    chosen = split.sample(config.train_utterances, config.eval_utterances)
    return np.isin(manifest.utterances, chosen)


def group_utterances(tasks: Sequence[Task], manifest: Manifest, split: Split, config: ProbeConfig) -> Groups:
    """Utterances that are never scored, in groups that the same folds train on and that are sampled, or not, as one."""
    kinds = dict.fromkeys(kind for task in tasks for kind in _splits(task, config))
    folds = [fold for kind in kinds for fold in make_folds(kind, split, manifest, config.text_folds)]
    scored = np.any([np.zeros(len(manifest), dtype=bool), *(fold.evaluation for fold in folds)], axis=0)
    marks = np.column_stack([sample_utterances(manifest, split, config), *(fold.train for fold in folds)])
    group, never = np.full(len(manifest), -1), np.flatnonzero(~scored)
    _, first, group[never] = np.unique(marks[never], axis=0, return_index=True, return_inverse=True)
    return Groups(group, never[first])


def make_folds(kind: HeldOut, split: Split, manifest: Manifest, text_folds: int = 5) -> list[Fold]:
    """The folds of a split; empty where it cannot be made (fewer than two speaker folds, or texts)."""
    if kind == "utterances":
        utterances = np.asarray(manifest.utterances)
        return [Fold(np.isin(utterances, split.train), np.isin(utterances, split.eval))]
    if kind == "speakers":
        speakers = np.asarray(manifest["speaker"], dtype=str)
        held_out = [np.isin(speakers, list(names)) for names in split.speaker_folds]
        return [Fold(~part, part) for part in held_out if part.any()] if len(held_out) > 1 else []
    from sklearn.model_selection import GroupKFold

    texts = np.asarray(manifest["text"], dtype=str)
    distinct = len(set(texts))
    if distinct < 2:
        return []
    # folds of equal size, and no text in train and eval at once
    parts = GroupKFold(min(text_folds, distinct)).split(texts, groups=texts)
    held_out = [np.isin(np.arange(len(texts)), evaluation) for _, evaluation in parts]
    return [Fold(~part, part) for part in held_out]
