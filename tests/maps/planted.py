"""Token tables and codebooks of three kinds of code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

KINDS, CODES = 3, 60
PHONES = ("AA", "S", "SIL")
"""Phone of each kind of code."""


def kind_of(code: int) -> int:
    return code % KINDS


def codebook(seed: int = 0) -> NDArray[np.float32]:
    """Rows [codes, 6] in three far apart clusters, one a kind."""
    rng = np.random.default_rng(seed)
    centres = 10 * np.eye(KINDS, 6)
    return (centres[np.arange(CODES) % KINDS] + rng.normal(size=(CODES, 6))).astype(np.float32)


def tokens(*, utterances: int = 6, frames: int = 50, layers: int = 2, seed: int = 0) -> pd.DataFrame:
    """Every frame's phone and F0 are those of its code's kind; a frame of kind 2 has no F0."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(CODES, size=(utterances * frames, layers))
    kinds = codes[:, 0] % KINDS
    columns = {f"code_{layer + 1}": codes[:, layer].astype(np.int16) for layer in range(layers)}
    return pd.DataFrame(
        {
            "utterance": np.repeat([f"u{i}" for i in range(utterances)], frames),
            "frame": np.tile(np.arange(frames, dtype=np.int32), utterances),
            "phone": pd.Categorical.from_codes(kinds.astype(np.int8), list(PHONES)),
            "f0_hz": np.array([100, 200, np.nan], dtype=np.float32)[kinds],
            **columns,
        }
    )


def write_tokens(path: Path, table: pd.DataFrame, *, row_group: int = 70) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_parquet(path, index=False, row_group_size=row_group)
