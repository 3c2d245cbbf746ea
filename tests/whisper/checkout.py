"""A checkout with a small corpus, as the stages before `features` leave it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from phonoscope import paths
from phonoscope.alignment import Alignment, Interval, write_textgrid
from phonoscope.audio import write_flac

from .speech import noise

RATE = 22_050
SECONDS = 0.6
SPEAKERS = ("ann", "bob")
PER_SPEAKER = 8
EVAL_PER_SPEAKER = 5


def write_corpus(empty: tuple[str, ...] = ()) -> list[str]:
    """Write noise that is said to be `w1 w2`, /S IY/ and /AA/, by two speakers; `empty` ones have no transcript.

    Returns: the utterances' names. The last of each speaker is longer by 10 ms.
    """
    rows: list[dict[str, Any]] = []
    tracks, names = [], []
    for speaker in SPEAKERS:
        for take in range(PER_SPEAKER):
            name, path = f"{speaker}-{take}", f"{speaker}/c/{speaker}-{take}.flac"
            seconds = SECONDS + (0.01 if take == PER_SPEAKER - 1 else 0.0)
            samples = 20 * noise(round(seconds * RATE), len(rows))
            write_flac(paths.CORPUS / path, samples, RATE)
            rows.append(
                {
                    "utterance": name,
                    "path": path,
                    "text": "" if name in empty else "w1 w2",
                    "speaker": speaker,
                    "sex": "F" if speaker == "ann" else "M",
                    "accent": "en-us",
                    "duration_s": len(samples) / RATE,
                    "sample_rate": RATE,
                }
            )
            words = [Interval(0.0, 0.2, "w1"), Interval(0.3, 0.5, "w2")]
            phones = [Interval(0.0, 0.1, "S"), Interval(0.1, 0.2, "IY"), Interval(0.3, 0.5, "AA")]
            write_textgrid((paths.ALIGNMENTS / path).with_suffix(".TextGrid"), Alignment(words, phones), seconds)
            tracks.append(name)
            names.append(name)
    pq.write_table(pa.Table.from_pandas(pd.DataFrame(rows), preserve_index=False), paths.MANIFEST)
    times = {"utterance": tracks, "time_s": np.zeros(len(tracks)), "f0_hz": np.zeros(len(tracks), np.float32)}
    pq.write_table(pa.table(times), paths.F0_TRACKS)
    held_out = {f"{speaker}-{take}" for speaker in SPEAKERS for take in range(EVAL_PER_SPEAKER)}
    split = {"train": [n for n in names if n not in held_out], "eval": [n for n in names if n in held_out]}
    paths.SPLIT.write_text(json.dumps(split))
    return names
