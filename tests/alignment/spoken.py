"""Synthetic speech and its alignment by the events of the synthesizer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.alignment.events import align_events
from phonoscope.audio import resample
from phonoscope.corpus.espeak import synthesize
from phonoscope.data.labels import Alignment
from phonoscope.events import PhoneEvent


class Spoken(NamedTuple):
    samples: NDArray[np.float32]
    rate: int
    events: list[PhoneEvent]
    alignment: Alignment

    @property
    def at_16_khz(self) -> NDArray[np.float32]:
        return resample(self.samples, self.rate, 16_000)


def speak(text: str, voice: str = "en-us") -> Spoken:
    speech = synthesize(text, voice)
    events = [PhoneEvent(*event) for event in speech.events]
    alignment = align_events(events, text, voice.split("+")[0], speech.samples, speech.sample_rate)
    return Spoken(speech.samples, speech.sample_rate, events, alignment)


def labels(alignment: Alignment) -> str:
    """Phones without silence."""
    return " ".join(phone.label for phone in alignment.phones if phone.label != "SIL")
