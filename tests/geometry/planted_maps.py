"""Token tables and codebooks of three kinds of code."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phonoscope.data import Alignment, Interval, Labels, TimeLabels, Tokens

KINDS, CODES = 3, 60
PHONES = ("AA", "S", "SIL")  # phone of each kind of code


def kind_of(code: int) -> int:
    return code % KINDS


def codebook(seed: int = 0) -> NDArray[np.float32]:
    """Rows [codes, 6] in three far apart clusters, one a kind."""
    rng = np.random.default_rng(seed)
    centres = 10 * np.eye(KINDS, 6)
    return (centres[np.arange(CODES) % KINDS] + rng.normal(size=(CODES, 6))).astype(np.float32)


def planted_tokens(*, utterances: int = 6, frames: int = 50, layers: int = 2, seed: int = 0) -> Tokens:
    """Random codes of some utterances."""
    codes = np.random.default_rng(seed).integers(CODES, size=(utterances * frames, layers))
    parts = {f"u{i}": codes[i * frames : (i + 1) * frames].T for i in range(utterances)}
    return Tokens.from_arrays(parts, [CODES] * layers, 50.0)


def planted_labels(**settings: int) -> TimeLabels:
    """Every frame's phone and F0 are those of its code's kind in layer 1; a frame of kind 2 has no F0."""
    alignments, tracks = {}, {}
    for name, codes in planted_tokens(**settings).codes().items():
        kinds = [kind_of(code) for code in codes[0]]
        phones = [Interval(i / 50, (i + 1) / 50, PHONES[kind]) for i, kind in enumerate(kinds)]
        alignments[name] = Alignment([], phones)
        f0_hz = np.repeat(np.array([100, 200, np.nan], dtype=np.float32)[kinds], 2)  # every 10 ms, a frame's centre
        tracks[name] = (np.arange(len(f0_hz)) / 100, f0_hz)
    return Labels.from_intervals(alignments, tracks)
