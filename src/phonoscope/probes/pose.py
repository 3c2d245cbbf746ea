"""Tasks are posed: the labelled frames of a token table become examples with folds and units."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.errors import DataError
from phonoscope.probes.examples import Examples, Fold
from phonoscope.probes.tasks import HeldOut, Targets, Task, find_classifications, find_tasks
from phonoscope.probes.vectors import IndexedVectors

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.config.probes import ProbeConfig
    from phonoscope.data import Labels, Latents, Manifest, Split, Tokens

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LabelledFrames:
    """All frames of a token table that have labels, in its order."""

    utterances: NDArray[np.int64]
    """[n], indices into the manifest."""
    codes: NDArray[np.int16]
    """[n, layers]"""
    targets: dict[str, tuple[NDArray[Any], tuple[str, ...]]]
    """By task: targets [n] and classes, as in `Examples`."""

    def places(self, manifest: Manifest) -> dict[str, NDArray[np.int64]]:
        """The rows of each utterance."""
        order = np.argsort(self.utterances, kind="stable")
        bounds = np.searchsorted(self.utterances[order], np.arange(len(manifest) + 1))
        return {name: order[bounds[i] : bounds[i + 1]] for i, name in enumerate(manifest.utterances)}

    def vectors(self, latents: Latents, manifest: Manifest) -> IndexedVectors:
        """The latent of every frame; frames of other utterances have none that could be used.

        Raises `DataError` if an utterance has another number of frames.
        """
        index = np.full(len(self.utterances), -1)
        for name, rows in self.places(manifest).items():
            if name in latents:
                place = latents.places[name]
                _require_frames(name, place.stop - place.start, len(rows))
                index[rows] = np.arange(place.start, place.stop)
        return IndexedVectors(latents.values, index)

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


def read_frames(tokens: Tokens, labels: Labels, manifest: Manifest, tasks: Sequence[Task]) -> LabelledFrames:
    """Read a token table with the targets of every task.

    Classes are sorted by name. Raises `DataError` if the table is not readable, or holds no frame that is labelled.
    """
    utterances, codes = [], []
    parts: dict[str, list[Targets]] = {task.name: [] for task in tasks}
    for frames in tokens.batches(manifest.utterances, labels):
        utterances.append(frames.utterances)
        codes.append(frames.codes.astype(np.int16))
        for task in tasks:
            parts[task.name].append(task.read(frames, manifest))
    if not codes:
        raise DataError(f"{tokens.name}: no frames of the manifest's utterances")
    targets = {name: _unite(part) for name, part in parts.items()}
    return LabelledFrames(np.concatenate(utterances), np.concatenate(codes), targets)


def _unite(parts: Sequence[Targets]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Targets of all batches under one list of classes."""
    classes = sorted({name for _, names in parts for name in names})
    if not classes and all(targets.dtype.kind == "f" for targets, _ in parts):
        return np.concatenate([targets for targets, _ in parts]), ()
    column = {name: i for i, name in enumerate(classes)}
    # the last entry stands for frames left out, whose index is -1
    united = [np.array([column[name] for name in names] + [-1], dtype=np.int32)[index] for index, names in parts]
    return np.concatenate(united), tuple(classes)


@dataclass(frozen=True)
class Posed:
    """A task with its examples under one split."""

    task: Task
    split: str
    examples: Examples
    units: tuple[str, ...] = ()
    """Names of the units of `Examples.evaluated`."""
    probed: bool = True
    """Whether probes are fitted."""
    informed: bool = False
    """Whether mutual information is measured."""


def pose(frames: LabelledFrames, manifest: Manifest, split: Split, config: ProbeConfig) -> list[Posed]:
    """The configured tasks with their examples. Tasks that the data cannot pose are left out with a warning.

    Raises `ParamsError` for an unknown task.
    """
    probed, informed = find_tasks(config.tasks), find_classifications(config.information)
    posed = []
    for task in {task.name: task for task in (*probed, *informed)}.values():
        for kind in task.splits if config.every_split else task.splits[:1]:
            folds = make_folds(kind, split, manifest, config.text_folds)
            unit_names, units = np.unique(np.asarray(manifest[task.unit], dtype=str), return_inverse=True)
            targets, classes = _used(*frames.targets[task.name])
            examples = Examples(targets, classes, frames.utterances, units.astype(np.int64), folds)
            if folds and (classes or task.values) and examples.can_be_scored():
                names = tuple(unit_names[examples.evaluated()].tolist())
                information = task in informed and kind == task.splits[0]
                posed.append(Posed(task, kind, examples, names, task in probed, information))
            else:
                logger.warning(
                    "%s: left out; train needs two classes or a value, and eval held-out %s", task.name, kind
                )
    return posed


def _used(targets: NDArray[Any], names: Sequence[str]) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Targets with classes that have no frame left out."""
    if not names:
        return targets, ()
    present = np.bincount(targets[targets >= 0], minlength=len(names)) > 0
    column = np.append(np.cumsum(present) - 1, -1)
    return column[targets], tuple(name for name, there in zip(names, present, strict=True) if there)


def sample_utterances(manifest: Manifest, split: Split, config: ProbeConfig) -> NDArray[np.bool_]:
    """Which utterances' frames probes are fitted and scored on, [utterances]: evenly spread over train and eval."""
    chosen = split.sample(config.train_utterances, config.eval_utterances)
    return np.isin(manifest.utterances, chosen)


def make_folds(kind: HeldOut, split: Split, manifest: Manifest, text_folds: int = 5) -> list[Fold]:
    """The folds of a split; empty where it cannot be made (fewer than two speaker folds, or texts).

    Texts are spread over folds of equal size (scikit-learn's `GroupKFold`): no text is in train and eval at once.
    """
    if kind == "utterances":
        utterances = np.asarray(manifest.utterances)
        return [Fold(np.isin(utterances, split.train), np.isin(utterances, split.eval))]
    if kind == "speakers":
        speakers = np.asarray(manifest["speaker"], dtype=str)
        held_out = [np.isin(speakers, list(names)) for names in split.speaker_folds]
        return [Fold(~part, part) for part in held_out if part.any()] if len(held_out) > 1 else []
    return _text_folds(manifest["text"], text_folds)


def _text_folds(texts: Sequence[str], count: int) -> list[Fold]:
    from sklearn.model_selection import GroupKFold

    distinct = len(set(texts))
    if distinct < 2:
        return []
    parts = GroupKFold(min(count, distinct)).split(np.zeros(len(texts)), groups=np.asarray(texts, dtype=str))
    held_out = [np.isin(np.arange(len(texts)), evaluation) for _, evaluation in parts]
    return [Fold(~part, part) for part in held_out]
