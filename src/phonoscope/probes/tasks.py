"""The registry of tasks: what can be asked of a frame, by name.

A new task is one `register(Task(...))` here; its name is then valid wherever tasks are named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from phonoscope.config.probes import ProbeConfig
from phonoscope.data import Frames, Manifest
from phonoscope.data.phones import SILENCE, phone_group, phone_order
from phonoscope.errors import ParamsError, nearest

Unit = Literal["utterance", "speaker"]
HeldOut = Literal["utterances", "speakers", "texts"]
Targets = tuple["NDArray[Any]", Sequence[str]]
"""Class of each frame [n], -1 for a frame left out, and the classes' names; or values [n], NaN, and no names."""


@dataclass(frozen=True)
class Task:
    """A classification, or a regression if `values` is true."""

    name: str
    column: str  # the column that the task needs: phone, f0_hz, or one of the manifest
    read: Callable[[Frames, Manifest], Targets]  # the target of every frame
    values: bool = False
    # what is left out in turn, and permuted: frames of one unit are not independent, or even share their label
    unit: Unit = "utterance"
    # what is held out: the split's eval utterances, speakers fold by fold, or texts fold by fold
    splits: tuple[HeldOut, ...] = ("utterances",)
    of_utterance: bool = False  # all frames of an utterance share their label: utterances can be probed as a whole
    group: Callable[[str], str] = str  # the group of a class in the table of classes
    order: Callable[[str], Any] = str  # sort key of the classes in the table of classes


TASKS: dict[str, Task] = {}


def register(task: Task) -> Task:
    """Make a task known under its name."""
    TASKS[task.name] = task
    return task


def find_tasks(names: Sequence[str]) -> list[Task]:
    """Registered tasks; `all` stands for every one. Raises `ParamsError` naming the nearest name there is."""
    tasks: dict[str, Task] = {}
    for name in names:
        if name not in {"all", *TASKS}:
            raise ParamsError(f"no task {name!r}; {nearest(name, TASKS)}")
        tasks |= TASKS if name == "all" else {name: TASKS[name]}
    return list(tasks.values())


def find_classifications(names: Sequence[str]) -> list[Task]:
    """As `find_tasks`, without regressions under `all`. Raises `ParamsError` for one that is named."""
    tasks = find_tasks(names)
    for task in tasks:
        if task.values and task.name in names:
            raise ParamsError(f"task {task.name!r} has values; mutual information needs classes")
    return [task for task in tasks if not task.values]


def configured_tasks(config: ProbeConfig) -> list[Task]:
    """The tasks and classifications of a configuration, each once. Raises `ParamsError` naming the field."""
    tasks: dict[str, Task] = {}
    for field, find in (("tasks", find_tasks), ("information", find_classifications)):
        try:
            tasks |= {task.name: task for task in find(getattr(config, field))}
        except ParamsError as error:
            raise ParamsError(f"{field}: {error}") from error
    return list(tasks.values())


def _by_phone(class_of: Callable[[str], str]) -> Callable[[Frames, Manifest], Targets]:
    """The class follows from the frame's phone; an empty class leaves the frame out."""

    def read(frames: Frames, manifest: Manifest) -> Targets:
        classes = [class_of(phone) for phone in frames.phone_names]
        names = sorted({name for name in classes if name})
        # a frame without phone has index -1, the last entry
        index = np.array([names.index(name) if name else -1 for name in classes] + [-1], dtype=np.int64)
        return index[frames.phones], names

    return read


def _by_utterance(column: str) -> Callable[[Frames, Manifest], Targets]:
    """The class is a column of the manifest; frames of silence, and utterances with an empty entry, are left out."""

    def read(frames: Frames, manifest: Manifest) -> Targets:
        values = np.asarray(manifest[column], dtype=str)
        names, index = np.unique(values, return_inverse=True)
        # silence would count as errors, and most of it is the same for all speakers
        silent = np.array([phone == SILENCE for phone in frames.phone_names] + [False])[frames.phones]
        return np.where(silent, -1, np.where(values == "", -1, index)[frames.utterances]), names.tolist()

    return read


def _voicing(frames: Frames, manifest: Manifest) -> Targets:
    """Voiced or not, of frames that are neither silent nor without phone."""
    spoken = np.array([phone != SILENCE for phone in frames.phone_names] + [False])[frames.phones]
    return np.where(spoken, np.isfinite(frames.f0_hz), -1).astype(np.int64), ("unvoiced", "voiced")


BAND_EDGES_HZ = 50.0 * 2 ** (np.arange(1, 10) / 3)  # thirds of an octave


def _pitch_band(frames: Frames, manifest: Manifest) -> Targets:
    """The band of F0 of voiced frames."""
    names = [f"up to {edge:03.0f} Hz" for edge in BAND_EDGES_HZ] + [f"above {BAND_EDGES_HZ[-1]:.0f} Hz"]
    return np.where(np.isfinite(frames.f0_hz), np.searchsorted(BAND_EDGES_HZ, frames.f0_hz), -1), names


_phones: dict[str, Any] = {"group": phone_group, "order": phone_order}
# speakers that training has not heard
_new_speakers: dict[str, Any] = {"unit": "speaker", "splits": ("speakers",), "of_utterance": True}

register(Task("phone", "phone", _by_phone(lambda phone: "" if phone == SILENCE else phone), **_phones))
register(Task("phone_silence", "phone", _by_phone(str), **_phones))
register(Task("phone_group", "phone", _by_phone(phone_group)))
register(Task("voicing", "f0_hz", _voicing))
register(Task("pitch", "f0_hz", lambda frames, manifest: (frames.f0_hz, ()), values=True))
register(Task("pitch_band", "f0_hz", _pitch_band))
# speakers known from training, with other utterances or other texts held out
register(Task("speaker", "speaker", _by_utterance("speaker"), splits=("utterances", "texts"), of_utterance=True))
register(Task("sex", "sex", _by_utterance("sex"), **_new_speakers))
register(Task("accent", "accent", _by_utterance("accent"), **_new_speakers))
register(Task("word", "word", _by_utterance("word"), of_utterance=True))
