"""A sample of the frames of a token table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from phonoscope.config.maps import MapsConfig


def sample_frames(tokens: Path, config: MapsConfig) -> pd.DataFrame:
    """Frames drawn at random, in random order: utterance, phone, f0_hz, and code_<l> of each layer it has.

    The table is read batch by batch. Raises `DataError` if it is missing, or has none of the layers.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not tokens.exists():
        raise DataError(f"{tokens}: no such token table; run `dvc repro encode`")
    with pq.ParquetFile(tokens) as file:
        codes = [f"code_{layer}" for layer in config.layers if f"code_{layer}" in file.schema_arrow.names]
        if not codes:
            raise DataError(f"{tokens}: has none of the layers {list(config.layers)}; change maps.layers")
        utterances = file.read(columns=["utterance"]).unify_dictionaries().to_pandas()["utterance"]
        rows = _choose(utterances.astype("category").cat.codes.to_numpy(), config)
        parts, start = [], 0
        for batch in file.iter_batches(columns=["utterance", "phone", "f0_hz", *codes]):
            here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(batch))]
            parts.append(batch.take(pa.array(here - start)))
            start += len(batch)
    drawn = pa.Table.from_batches(parts).unify_dictionaries().to_pandas()
    return drawn.sample(frac=1, random_state=config.seed, ignore_index=True)


def _choose(utterances: NDArray[Any], config: MapsConfig) -> NDArray[np.int64]:
    """Sorted rows: `config.frames` at most, and of each utterance `config.per_utterance`."""
    import pandas as pd

    order = np.random.default_rng(config.seed).permutation(len(utterances))
    rank = pd.Series(utterances[order]).groupby(utterances[order]).cumcount().to_numpy()
    return np.sort(order[rank < config.per_utterance][: config.frames])
