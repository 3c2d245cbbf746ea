"""Maps of one RVQ layer: its codes in the plane by t-SNE, and a sample of frames about their codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.manifold import TSNE, trustworthiness

from phonoscope.compute import limit_threads
from phonoscope.config.maps import MapsConfig
from phonoscope.data import Labels, Tokens
from phonoscope.data.tokens import concatenate, join
from phonoscope.errors import DataError
from phonoscope.stats import weighted_pca

MOST = 40  # frames of one code that are drawn, so that silence, a quarter of all frames, covers no others
COVER = 0.2  # share of the map that the frames' dots take up in all
GOLDEN = np.pi * (3 - np.sqrt(5))  # angle between one dot of a disc and the next, which packs them evenly


@dataclass(frozen=True)
class CodeMap:
    """The codes of one layer that frames use, in the plane."""

    codes: NDArray[np.int64]  # [n], sorted
    places: NDArray[np.float64]  # [n, 2], about 0, the larger side 1 long
    perplexity: float
    trustworthiness: float  # Venna & Kaski (2001): 1 if all neighbours in the plane are close in space, 0.5 at random
    divergence: float  # Kullback-Leibler divergence that t-SNE ends at, nats

    def place(self, codes: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
        """Which frames [frames] are drawn, their places [drawn, 2], and the radius of a frame's dot.

        Frames of one code have one and the same vector: they fill a disc about the code's place, and where in it one
        lies means nothing. Its area is proportional to its frames, up to `MOST`; of more frames the first are drawn.
        """
        turn = _turns(codes)
        drawn = np.flatnonzero(turn < MOST)
        radius, turn = float(np.sqrt(COVER / (np.pi * len(drawn)))), turn[drawn]
        # a sunflower: the radius grows with the root of the turn, so that the dots' density is even
        offset = np.column_stack([np.cos(turn * GOLDEN), np.sin(turn * GOLDEN)]) * np.sqrt(turn + 0.5)[:, None]
        return drawn, self.places[np.searchsorted(self.codes, codes[drawn])] + radius * offset, radius


def map_codes(codebook: NDArray[Any], frames: NDArray[np.integer], config: MapsConfig) -> CodeMap | None:
    """t-SNE of the rows [codes, dims] that `frames` [codes] use, after PCA over the frames; None if hardly any.

    Every row is one point, however many frames have it: as many points as frames would make copies of a frequent code
    each other's only neighbours, and tear the map into islands of one code.
    """
    codes = np.flatnonzero(frames)
    if len(codes) < 5:
        return None
    perplexity = min(config.perplexity, (len(codes) - 1) / 3)
    with limit_threads():
        vectors = codebook[codes].astype(np.float64)
        mean, axes = weighted_pca(vectors, frames[codes], config.pca_dims)
        rows = (vectors - mean) @ axes
        model = TSNE(perplexity=perplexity, init="pca", max_iter=config.max_iter, random_state=config.seed)
        places = model.fit_transform(rows).astype(np.float64)
        trust = float(trustworthiness(rows, places, n_neighbors=min(10, (len(codes) - 1) // 2)))
    low, high = places.min(axis=0), places.max(axis=0)
    places = (places - (low + high) / 2) / (high - low).max()
    return CodeMap(codes, places, perplexity, trust, float(model.kl_divergence_))


def sample_frames(
    tokens: Tokens, labels: Labels, config: MapsConfig
) -> tuple[pd.DataFrame, dict[int, NDArray[np.int64]]]:
    """Draw frames of labelled utterances, in random order; layers that the codec lacks are left out.

    Returns: a row a frame of utterance, phone (None where unknown) and f0_hz (NaN where unvoiced); by layer, the code
    of every frame. The table is read batch by batch. Raises `DataError` if it has none of the layers.
    """
    layers = [layer for layer in config.layers if layer <= tokens.layers]
    if not layers:
        raise DataError(f"{tokens.name}: has none of the layers {list(config.layers)}")
    names = labels.utterances
    owners = np.concatenate([batch.utterances for batch in tokens.batches(names, layers=1)])
    order = np.random.default_rng(config.seed).permutation(len(owners))
    rows = np.sort(order[_turns(owners[order]) < config.per_utterance][: config.frames])
    parts, start = [], 0
    for batch in tokens.batches(names):
        here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(batch))]
        parts.append(batch.select(here - start))
        start += len(batch)
    # labels are joined to the frames drawn alone: the join is most of the reading time
    drawn = join(concatenate(parts), names, labels, tokens.frame_rate_hz)
    phones = np.array([*drawn.phone_names, None], dtype=object)[drawn.phones]
    table = pd.DataFrame(
        {"utterance": np.array(names, dtype=object)[drawn.utterances], "phone": phones, "f0_hz": drawn.f0_hz}
    ).sample(frac=1, random_state=config.seed)
    return table.reset_index(drop=True), {layer: drawn.codes[table.index, layer - 1] for layer in layers}


def _turns(values: NDArray[np.integer]) -> NDArray[np.int64]:
    """How many equal values stand before each, [n]."""
    return np.asarray(pd.Series(values).groupby(values).cumcount(), dtype=np.int64)
