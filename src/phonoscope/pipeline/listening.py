"""Whisper and the corpus's speech, as the stages around Whisper take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from phonoscope import paths
from phonoscope.audio import read_audio, resample
from phonoscope.compute import setup_torch
from phonoscope.config.compute import ComputeConfig
from phonoscope.errors import DataError
from phonoscope.pipeline.tables import read_aligned_manifest, read_split
from phonoscope.whisper.model import SAMPLE_RATE, Whisper, load_whisper
from phonoscope.whisper.transcript import written

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")


@dataclass(frozen=True)
class Utterance:
    """An aligned utterance of the corpus."""

    name: str
    path: str
    """Below data/corpus, and with another suffix below data/alignments."""
    text: str
    """The transcript as Whisper would write it; empty where nothing is said."""
    speaker: str
    sex: str
    accent: str
    split: str
    samples: int
    """Length at 16 kHz."""


@lru_cache(maxsize=1)
def open_whisper(checkpoint: str, compute: ComputeConfig) -> Whisper:
    """Whisper on its device, loaded once a process."""
    return load_whisper(checkpoint, setup_torch(compute, seed=0))  # nothing here is random


def utterances() -> list[Utterance]:
    """Every aligned utterance, in the manifest's order."""
    evaluated = set(read_split()["eval"])
    return [
        Utterance(
            name=row["utterance"],
            path=row["path"],
            text=written(row["text"]) if any(map(str.isalnum, row["text"] or "")) else "",
            speaker=row["speaker"],
            sex=row["sex"],
            accent=row["accent"],
            split="eval" if row["utterance"] in evaluated else "train",
            samples=round(round(row["duration_s"] * row["sample_rate"]) * SAMPLE_RATE / row["sample_rate"]),
        )
        for row in read_aligned_manifest().to_dict("records")
    ]


def read_16k(utterance: Utterance) -> NDArray[np.float32]:
    """An utterance's audio at 16 kHz, [samples]. Raises `DataError` if its length is not the manifest's."""
    path = paths.CORPUS / utterance.path
    samples = resample(*read_audio(path), SAMPLE_RATE)
    if abs(len(samples) - utterance.samples) > 1:  # rounding of the rates
        raise DataError(
            f"{path}: {len(samples)} samples at 16 kHz, {utterance.samples} by the manifest; rebuild corpus"
        )
    return samples[: utterance.samples]


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` items, evenly from all."""
    step = max(1.0, len(items) / max(1, count))
    return [items[int(index * step)] for index in range(min(count, len(items)))]


def eval_utterances(count: int) -> list[Utterance]:
    """At most `count` eval utterances in which something is said. Raises `DataError` if there is none."""
    spoken = [utterance for utterance in utterances() if utterance.split == "eval" and utterance.text]
    if not spoken:
        raise DataError(f"{paths.SPLIT}: no eval utterance has a transcript; give transcripts or another split")
    return spread(spoken, count)


def eval_speech(count: int) -> tuple[list[NDArray[np.float32]], list[str]]:
    """Audio at 16 kHz and transcripts of `eval_utterances`."""
    chosen = eval_utterances(count)
    return [read_16k(utterance) for utterance in chosen], [utterance.text for utterance in chosen]
