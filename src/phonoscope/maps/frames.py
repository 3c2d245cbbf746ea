"""A sample of the frames of a token table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from phonoscope.data.labels import Labels
from phonoscope.data.tokens import Tokens, concatenate, join
from phonoscope.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.config.maps import MapsConfig


@dataclass(frozen=True)
class SampledFrames:
    """Frames in random order."""

    labels: pd.DataFrame
    """A row a frame: utterance, phone (None where unknown), f0_hz (NaN where unvoiced)."""
    codes: dict[int, NDArray[np.int64]]
    """By layer, the code of every frame."""


def sample_frames(tokens: Tokens, labels: Labels, config: MapsConfig) -> SampledFrames:
    """Draw frames of labelled utterances at random; layers that the codec lacks are left out.

    The table is read batch by batch. Raises `DataError` if it has none of the layers.
    """
    layers = [layer for layer in config.layers if layer <= tokens.layers]
    if not layers:
        raise DataError(f"{tokens.name}: has none of the layers {list(config.layers)}")
    names = labels.utterances
    rows = _choose(np.concatenate([batch.utterances for batch in tokens.batches(names, layers=1)]), config)
    parts, start = [], 0
    for batch in tokens.batches(names):
        here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(batch))]
        parts.append(batch.select(here - start))
        start += len(batch)
    drawn = join(concatenate(parts), names, labels, tokens.frame_rate_hz)
    phones = np.array([*drawn.phone_names, None], dtype=object)[drawn.phones]
    table = pd.DataFrame(
        {"utterance": np.array(names, dtype=object)[drawn.utterances], "phone": phones, "f0_hz": drawn.f0_hz}
    ).sample(frac=1, random_state=config.seed)
    codes = {layer: drawn.codes[table.index, layer - 1] for layer in layers}
    return SampledFrames(table.reset_index(drop=True), codes)


def _choose(utterances: NDArray[np.int64], config: MapsConfig) -> NDArray[np.int64]:
    """Sorted rows: `config.frames` at most, and of each utterance at most `config.per_utterance`."""
    order = np.random.default_rng(config.seed).permutation(len(utterances))
    rank = pd.Series(utterances[order]).groupby(utterances[order]).cumcount().to_numpy()
    return np.sort(order[rank < config.per_utterance][: config.frames])
