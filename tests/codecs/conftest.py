"""A toy checkout that codecs are run on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from phonoscope import paths
from phonoscope.audio import write_flac
from phonoscope.codecs import start
from phonoscope.data import Alignment, Interval, Labels, Manifest, Split

from .tiny import make_small_tiny, voice

DURATIONS_S = {"a": 0.9, "b": 0.5, "c": 0.31, "d": 0.4}  # utterances; d could not be aligned


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a corpus of four utterances, three of them aligned, and a tiny codec to train from scratch."""
    monkeypatch.chdir(tmp_path)
    make_small_tiny(monkeypatch, "speechtokenizer")
    monkeypatch.setattr(start, "START_VECTORS", 320)
    columns: dict[str, list[Any]] = {"path": [], "sha256": [], "speaker": []}
    alignments, tracks = {}, {}
    for seed, (name, seconds) in enumerate(DURATIONS_S.items()):
        path = f"s/c/{name}.flac"
        write_flac(paths.CORPUS / path, voice(seconds, 22_050, seed), 22_050)
        columns["path"].append(path)
        columns["sha256"].append(hashlib.sha256((paths.CORPUS / path).read_bytes()).hexdigest())
        columns["speaker"].append(f"s{seed % 2}")
        if name != "d":
            halves = [Interval(0.0, seconds / 2, "AA"), Interval(seconds / 2, seconds, "S")]
            alignments[name] = Alignment([Interval(0.0, seconds, "word")], halves)
            times_s = np.arange(0, seconds, 0.01)
            tracks[name] = times_s, (100 + times_s).astype(np.float32)
    Manifest.from_arrays(list(DURATIONS_S), **columns).save(paths.MANIFEST)
    paths.ALIGNMENTS.mkdir(parents=True)
    Labels.from_intervals(alignments, tracks).save(paths.ALIGNMENTS)
    Split.from_arrays(["a", "b", "d"], ["c"]).save(paths.SPLIT)
    return tmp_path
