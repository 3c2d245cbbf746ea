"""Codebooks and clips whose words are planted in the codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from phonoscope.config.geometry import BootstrapConfig, GeometryConfig, WordProbeConfig
from phonoscope.data import Codebooks, Tokens

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
    stored, summed = [], []
    for _ in range(layers):
        stored.append(rng.normal(size=(size, raw)).astype(np.float32))
        summed.append(stored[-1] @ rng.normal(size=(raw, dims)) + rng.normal(size=dims))
    return Codebooks.from_arrays(summed, stored)


def plain_codebooks(layers: int = 3, size: int = 16, dims: int = 6, seed: int = 0) -> Codebooks:
    """Codebooks like EnCodec's: the raw rows are the in-sum vectors."""
    rng = np.random.default_rng(seed)
    return Codebooks.from_arrays([rng.normal(size=(size, dims)) for _ in range(layers)])


def make_tokens(
    clips: dict[str, NDArray[Any]], size: int = 16, order: Sequence[int] | None = None, batch: int | None = None
) -> Tokens:
    """Tokens of clips, each codes [L, F]; `order` shuffles the rows, `batch` cuts the table into parts."""
    tokens = Tokens.from_arrays(clips, [size] * len(next(iter(clips.values()))))
    table: Any = tokens.source if order is None else tokens.source.take(list(order))
    if batch is not None:
        table = pa.concat_tables([table.slice(start, batch) for start in range(0, len(table), batch)])
    return replace(tokens, source=table)


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
