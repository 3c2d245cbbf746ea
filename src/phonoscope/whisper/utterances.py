"""Utterances of a corpus as Whisper takes them: audio at 16 kHz, and transcripts as Whisper would write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from phonoscope.audio import read_audio, resample
from phonoscope.data import Manifest, Split
from phonoscope.errors import DataError
from phonoscope.stats import evenly_spaced
from phonoscope.whisper.model import SAMPLE_RATE
from phonoscope.whisper.transcript import as_sentence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Utterance:
    """An utterance with its audio file and labels."""

    name: str
    file: Path
    text: str
    """Transcript as Whisper would write it; empty where nothing is said."""
    speaker: str
    sex: str
    accent: str
    split: str
    """`train` or `eval`."""
    samples: int
    """Length at 16 kHz."""


def list_utterances(manifest: Manifest, split: Split, corpus: Path) -> list[Utterance]:
    """Every utterance of a manifest, in its order; their audio files are below `corpus`."""
    evaluated = set(split.eval)
    return [
        Utterance(
            name=row["utterance"],
            file=corpus / row["path"],
            text=as_sentence(row["text"]) if any(map(str.isalnum, row["text"] or "")) else "",
            speaker=row["speaker"],
            sex=row["sex"],
            accent=row["accent"],
            split="eval" if row["utterance"] in evaluated else "train",
            samples=round(round(row["duration_s"] * row["sample_rate"]) * SAMPLE_RATE / row["sample_rate"]),
        )
        for row in manifest.table.to_dict("records")
    ]


def read_16k(utterance: Utterance) -> NDArray[np.float32]:
    """An utterance's audio at 16 kHz, [samples]. Raises `DataError` if its length is not the manifest's."""
    samples = resample(*read_audio(utterance.file), SAMPLE_RATE)
    if abs(len(samples) - utterance.samples) > 1:  # rounding of the rates
        raise DataError(f"{utterance.file}: {len(samples)} samples at 16 kHz, but {utterance.samples} by the manifest")
    return samples[: utterance.samples]


def eval_utterances(utterances: Sequence[Utterance], count: int) -> list[Utterance]:
    """At most `count` eval utterances with a transcript, evenly spaced. Raises `DataError` if there is none."""
    spoken = [utterance for utterance in utterances if utterance.split == "eval" and utterance.text]
    if not spoken:
        raise DataError("no eval utterance has a transcript; give transcripts or another split")
    return [spoken[index] for index in evenly_spaced(len(spoken), count, "parts")]
