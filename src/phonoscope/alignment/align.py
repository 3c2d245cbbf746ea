"""One utterance's alignment and F0 track, by whichever method applies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phonoscope.alignment.events import align_events
from phonoscope.alignment.forced import SAMPLE_RATE_HZ, force_align
from phonoscope.alignment.textgrid import read_textgrid
from phonoscope.audio import resample
from phonoscope.config.alignment import AlignmentConfig
from phonoscope.data.labels import Alignment
from phonoscope.errors import DataError
from phonoscope.events import PhoneEvent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Sources:
    """Sources of one utterance's alignment, beside its audio."""

    text: str = ""
    accent: str = ""
    """The synthesizer's accent, such as `en-us`; only phone events need it."""
    events: tuple[PhoneEvent, ...] = ()
    given: Path | None = None
    """A TextGrid."""


def align_utterance(
    samples: NDArray[np.float32], sample_rate: int, sources: Sources, config: AlignmentConfig
) -> Alignment:
    """Align one utterance by `config.method`; `auto` takes the given TextGrid, else the events, else forced alignment.

    Raises: `DataError` with the reason if that method cannot align it.
    """
    method = config.method
    if method == "auto":
        method = "given" if sources.given else "events" if sources.events else "forced"
    if method == "given":
        if sources.given is None:
            raise DataError("this utterance has no TextGrid")
        return read_textgrid(sources.given, len(samples) / sample_rate, config.stress)
    if method == "events":
        if not sources.events:
            raise DataError("no phone events: only synthesized speech has them; align it by force, or give a TextGrid")
        return align_events(sources.events, sources.text, sources.accent, samples, sample_rate, config.stress)
    if config.stress == "keep":
        raise DataError("forced alignment has no stress digits; strip stress, or give a TextGrid")
    return force_align(resample(samples, sample_rate, SAMPLE_RATE_HZ), sources.text)
