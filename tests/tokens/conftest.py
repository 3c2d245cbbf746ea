"""A toy checkout that codecs are run on."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from phonoscope import paths
from phonoscope.alignment import Alignment, Interval, write_textgrid
from phonoscope.audio import write_flac
from phonoscope.codecs import start

from ..codecs.tiny import make_small_tiny, voice

PHONES = {"a": ("AA", "S"), "b": ("S", "AA"), "c": ("AA", "S")}
DURATIONS_S = {"a": 0.9, "b": 0.5, "c": 0.31, "unaligned": 0.4}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a corpus of four utterances, three of them aligned, and a tiny codec to train from scratch."""
    monkeypatch.chdir(tmp_path)
    make_small_tiny(monkeypatch, "speechtokenizer")
    monkeypatch.setattr(start, "START_VECTORS", 320)
    rows, tracks = [], []
    for seed, (name, seconds) in enumerate(DURATIONS_S.items()):
        path = f"s/c/{name}.flac"
        write_flac(paths.CORPUS / path, voice(seconds, 22_050, seed), 22_050)
        digest = hashlib.sha256((paths.CORPUS / path).read_bytes()).hexdigest()
        rows.append(
            {"utterance": name, "path": path, "sample_rate": 22_050, "speaker": f"s{seed % 2}", "sha256": digest}
        )
        if name == "unaligned":
            continue
        first, second = PHONES[name]
        halves = [Interval(0.0, seconds / 2, first), Interval(seconds / 2, seconds, second)]
        grid = (paths.ALIGNMENTS / path).with_suffix(".TextGrid")
        write_textgrid(grid, Alignment([Interval(0.0, seconds, "word")], halves), seconds)
        times = np.arange(0.005, seconds, 0.01)
        tracks.append(pd.DataFrame({"utterance": name, "time_s": times, "f0_hz": (100 + times).astype(np.float32)}))
    pd.DataFrame(rows).to_parquet(paths.MANIFEST)
    pd.concat(tracks).to_parquet(paths.F0_TRACKS)
    paths.SPLIT.write_text(json.dumps({"train": ["a", "b", "unaligned"], "eval": ["c"]}))
    return tmp_path
