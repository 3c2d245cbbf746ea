"""Sounds that the tests listen to, and a checkout with a small corpus, as the stages before `features` leave it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from phonoscope import paths
from phonoscope.audio import write_flac
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.params import Params, load_params
from phonoscope.data import Alignment, Interval, Labels, Manifest, Split

SENTENCES = ["The old farmer carried seven baskets of apples to the market.", "Please close the window before you go."]
PARAMS = Path(__file__).parents[2] / "params.yaml"
RATE = 22_050
SECONDS = 0.6
SPEAKERS = {"ann": "F", "bob": "M"}
PER_SPEAKER = 8
EVAL_PER_SPEAKER = 5


def noise(samples: int, seed: int = 0) -> NDArray[np.float32]:
    return (0.01 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def write_corpus(empty: tuple[str, ...] = ()) -> list[str]:
    """Write noise with the transcript `w1 w2`, /S IY/ and /AA/, by two speakers; `empty` ones have no transcript.

    Returns: the utterances' names. The last of each speaker is longer by 10 ms.
    """
    rows: dict[str, dict[str, Any]] = {}
    alignments: dict[str, Alignment] = {}
    for speaker in SPEAKERS:
        for take in range(PER_SPEAKER):
            name, path = f"{speaker}-{take}", f"{speaker}/c/{speaker}-{take}.flac"
            seconds = SECONDS + (0.01 if take == PER_SPEAKER - 1 else 0.0)
            samples = 20 * noise(round(seconds * RATE), len(alignments))
            write_flac(paths.CORPUS / path, samples, RATE)
            told = {"text": "" if name in empty else "w1 w2", "speaker": speaker, "sex": SPEAKERS[speaker]}
            sound = {"path": path, "accent": "en-us", "duration_s": len(samples) / RATE, "sample_rate": RATE}
            rows[name] = told | sound
            edges = [(0.0, 0.1, "S"), (0.1, 0.2, "IY"), (0.2, 0.3, "SIL"), (0.3, 0.5, "AA"), (0.5, seconds, "SIL")]
            words = [Interval(0.0, 0.2, "w1"), Interval(0.3, 0.5, "w2")]
            alignments[name] = Alignment(words, [Interval(*edge) for edge in edges])
    Manifest.from_arrays(list(rows), **pd.DataFrame(rows.values()).to_dict("list")).save(paths.MANIFEST)
    Labels.from_intervals(alignments).save(paths.ALIGNMENTS)
    held_out = {f"{speaker}-{take}" for speaker in SPEAKERS for take in range(EVAL_PER_SPEAKER)}
    Split.from_arrays(alignments.keys() - held_out, held_out).save(paths.SPLIT)
    return list(alignments)


def small_params(checkpoint: Path, sites: tuple[str, ...], **whisper: Any) -> Params:
    """The project's parameters with this model, these sites and changes to section `whisper`, on one CPU."""
    loaded = load_params(PARAMS)
    settings = {"checkpoint": str(checkpoint), "context_s": 1.0} | whisper
    changes = {
        "whisper": loaded.whisper.model_copy(update=settings),
        "sae": loaded.sae.model_copy(update={"sites": sites}),
        "compute": ComputeConfig(device="cpu", workers=1),
    }
    return loaded.model_copy(update=changes)
