"""Codebooks and clips whose words are planted in the codes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from phonoscope.geometry.codebooks import Codebooks

from phonoscope.config.geometry import BootstrapConfig, GeometryConfig, WordProbeConfig

BRIEF = GeometryConfig(
    words=("yes", "no"),
    samples_per_word=4,
    permutations=19,
    perplexity=5,
    bootstrap=BootstrapConfig(samples=50),
    probe=WordProbeConfig(max_iter=50),
)
"""Settings for tests that look at the form, not at the numbers."""


def affine_codebooks(layers: int = 3, size: int = 16, raw: int = 2, dims: int = 12, seed: int = 0) -> Codebooks:
    """Codebooks like DAC's: in-sum vectors are an affine image, with bias, of the raw rows, rounded to float32."""
    rng = np.random.default_rng(seed)
    tensors = {}
    for layer in range(1, layers + 1):
        rows = rng.normal(size=(size, raw)).astype(np.float32)
        tensors[f"raw_{layer}"] = rows
        tensors[f"layer_{layer}"] = (rows @ rng.normal(size=(raw, dims)) + rng.normal(size=dims)).astype(np.float32)
    return Codebooks.from_tensors(tensors)


def plain_codebooks(layers: int = 3, size: int = 16, dims: int = 6, seed: int = 0) -> Codebooks:
    """Codebooks like EnCodec's: the raw rows are the in-sum vectors."""
    rng = np.random.default_rng(seed)
    rows = tuple(rng.normal(size=(size, dims)) for _ in range(layers))
    return Codebooks(rows, rows)


def write_tokens(path: Path, clips: dict[str, NDArray[Any]], order: Sequence[int] | None = None) -> Path:
    """A token table of clips, each codes [L, F]; `order` shuffles its rows."""
    frames = [
        {"utterance": name, "frame": frame, **{f"code_{i}": int(code) for i, code in enumerate(column, start=1)}}
        for name, codes in clips.items()
        for frame, column in enumerate(codes.T)
    ]
    table = pd.DataFrame(frames)
    if order is not None:
        table = table.iloc[list(order)]
    path.parent.mkdir(parents=True, exist_ok=True)
    table.astype({name: "int16" for name in table if str(name).startswith("code_")}).to_parquet(path, index=False)
    return path


def said(
    words: Sequence[str] = ("yes", "no", "one"), speakers: int = 4, takes: int = 2, layers: int = 3, size: int = 16
) -> tuple[pd.DataFrame, dict[str, NDArray[Any]]]:
    """Clips of every speaker, word and take, and their codes: half of the frames hold codes that are the word's own."""
    rng = np.random.default_rng(7)
    own = {word: rng.integers(0, size, (layers, 2)) for word in words}
    rows, codes = [], {}
    for speaker in range(speakers):
        for word in words:
            for take in range(takes):
                name = f"s{speaker}-{word}-{take}"
                rows.append((name, word, f"s{speaker}", "FM"[speaker % 2], "en"))
                free = rng.integers(0, size, (layers, 12))
                liked = own[word][:, rng.integers(0, 2, 12)]
                codes[name] = np.where(rng.random(12) < 0.5, liked, free)
    return pd.DataFrame(rows, columns=["utterance", "word", "speaker", "sex", "accent"]), codes
