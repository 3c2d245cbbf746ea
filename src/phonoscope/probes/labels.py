"""What can be asked of a frame: the tasks of the probes in depth, by name.

A task is a class with a name and one method, `labels`; `register` makes it known, and an entry in `depth.tasks` of
params.yaml has it probed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal, TypeVar

import numpy as np

from phonoscope.data.phones import phone_group
from phonoscope.errors import ParamsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.probes.stream import Frames

Columns = Mapping[str, Sequence[str]]
"""The manifest: for each column the value of every utterance."""
Unit = Literal["utterance", "speaker"]
Split = Literal["utterances", "speakers", "texts"]
SILENCE = "SIL"


class LabelTask(ABC):
    """A classification task: it names the class of every frame."""

    name: ClassVar[str]
    unit: ClassVar[Unit] = "utterance"
    """What is resampled and permuted: frames of one unit are not independent, or even share their label."""
    splits: ClassVar[tuple[Split, ...]] = ("utterances",)
    """What is held out: the split's eval utterances, speakers fold by fold, or texts fold by fold."""
    pooled: ClassVar[bool] = False
    """Whether all frames of an utterance share their label, so that utterances can be probed as a whole."""

    @abstractmethod
    def labels(self, frames: Frames, manifest: Columns) -> tuple[NDArray[np.int64], Sequence[str]]:
        """The class of each frame [n], -1 for a frame that is left out, and the names of the classes."""


TASKS: dict[str, LabelTask] = {}
TaskClass = TypeVar("TaskClass", bound=type[LabelTask])


def register(task: TaskClass) -> TaskClass:
    """Make a task known under its name."""
    TASKS[task.name] = task()
    return task


def find_task(name: str, key: str) -> LabelTask:
    """A registered task. Raises `ParamsError` naming `key` and the tasks there are."""
    if name not in TASKS:
        raise ParamsError(f"{key}: no task {name!r}; there are {', '.join(TASKS)}")
    return TASKS[name]


class PhoneLabels(LabelTask):
    """A task whose class follows from the frame's phone."""

    @abstractmethod
    def of(self, phone: str) -> str:
        """The class of a phone; empty for one that is left out."""

    def labels(self, frames: Frames, manifest: Columns) -> tuple[NDArray[np.int64], Sequence[str]]:
        of = [self.of(phone) for phone in frames.phone_names]
        names = sorted({name for name in of if name})
        index = np.array([names.index(name) if name else -1 for name in of] + [-1], dtype=np.int64)
        return index[frames.phones], names  # a frame without phone has index -1, the last entry


class UtteranceLabels(LabelTask):
    """A task whose class is a column of the manifest; utterances with an empty entry are left out."""

    column: ClassVar[str]
    pooled = True

    def labels(self, frames: Frames, manifest: Columns) -> tuple[NDArray[np.int64], Sequence[str]]:
        values = np.asarray(manifest[self.column], dtype=str)
        names = sorted({str(value) for value in values if value})
        index = np.array([names.index(value) if value else -1 for value in values], dtype=np.int64)
        return index[frames.utterances], names


@register
class Phone(PhoneLabels):
    """Which phone."""

    name = "phone"

    def of(self, phone: str) -> str:
        return "" if phone == SILENCE else phone


@register
class PhoneGroup(PhoneLabels):
    """Which manner of articulation, silence among them."""

    name = "phone_group"

    def of(self, phone: str) -> str:
        return phone_group(phone)


@register
class Voicing(LabelTask):
    """Whether a frame of speech is voiced."""

    name = "voicing"

    def labels(self, frames: Frames, manifest: Columns) -> tuple[NDArray[np.int64], Sequence[str]]:
        spoken = np.array([phone != SILENCE for phone in frames.phone_names] + [False])[frames.phones]
        return np.where(spoken, np.isfinite(frames.f0_hz), -1).astype(np.int64), ("unvoiced", "voiced")


@register
class PitchBand(LabelTask):
    """In which third of an octave the F0 of a voiced frame lies."""

    name = "pitch_band"
    edges_hz = 50.0 * 2 ** (np.arange(1, 10) / 3)

    def labels(self, frames: Frames, manifest: Columns) -> tuple[NDArray[np.int64], Sequence[str]]:
        band = np.searchsorted(self.edges_hz, frames.f0_hz)
        names = [f"up to {edge:03.0f} Hz" for edge in self.edges_hz] + [f"above {self.edges_hz[-1]:.0f} Hz"]
        return np.where(np.isfinite(frames.f0_hz), band, -1), names


@register
class Speaker(UtteranceLabels):
    """Who speaks, of the speakers known from training; with held-out utterances, and with held-out texts."""

    name = column = "speaker"
    splits = ("utterances", "texts")


@register
class Sex(UtteranceLabels):
    """The sex of speakers that training has not heard."""

    name = column = "sex"
    unit = "speaker"
    splits = ("speakers",)


@register
class Accent(UtteranceLabels):
    """The accent of speakers that training has not heard."""

    name = column = "accent"
    unit = "speaker"
    splits = ("speakers",)


@register
class Word(UtteranceLabels):
    """Which isolated word a frame belongs to."""

    name = column = "word"
