"""Codes in the plane by t-SNE, and frames about their codes."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.stats import weighted_pca

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.config.maps import MapsConfig

logger = logging.getLogger(__name__)

FEWEST = 5
"""Codes; fewer are not worth a map."""
NEIGHBOURS = 10
"""Nearest codes over which trustworthiness is measured."""
MOST = 40
"""Frames of one code that are drawn, so that silence, with a quarter of all frames in one code, covers no others."""
COVER = 0.2
"""Share of the map that the frames' dots take up in all."""
GOLDEN = np.pi * (3 - np.sqrt(5))
"""Angle between one dot of a disc and the next, which packs them evenly."""


@dataclass(frozen=True)
class CodeMap:
    """The codes of one layer that frames use, in the plane."""

    codes: NDArray[np.int64]
    """[n], sorted."""
    places: NDArray[np.float64]
    """[n, 2], about 0, the larger side 1 long."""
    perplexity: float
    trustworthiness: float
    """Venna & Kaski (2001): 1 if every neighbour in the plane is one in the space too, 0.5 for a random map."""
    divergence: float
    """Kullback-Leibler divergence that t-SNE ends at, nats."""

    def place(self, codes: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
        """Which frames [frames] are drawn, their places [drawn, 2], and the radius of a frame's dot.

        Frames of one code have one and the same vector: they fill a disc about the code's place, and where in it one
        lies means nothing. Its area is proportional to its frames, up to `MOST`; of more frames the first are drawn.
        """
        import pandas as pd

        turn = pd.Series(codes).groupby(codes).cumcount().to_numpy()
        drawn = np.flatnonzero(turn < MOST)
        radius, turn = float(np.sqrt(COVER / (np.pi * len(drawn)))), turn[drawn]
        offset = np.column_stack([np.cos(turn * GOLDEN), np.sin(turn * GOLDEN)]) * np.sqrt(turn + 0.5)[:, None]
        return drawn, self.places[np.searchsorted(self.codes, codes[drawn])] + radius * offset, radius


def map_codes(codebook: NDArray[Any], frames: NDArray[np.integer], config: MapsConfig) -> CodeMap | None:
    """t-SNE of the rows [codes, dims] that `frames` [codes] use, after PCA over the frames; None if hardly any.

    Every row is one point, however many frames have it: as many points as frames would make copies of a frequent code
    each other's only neighbours, and tear the map into islands of one code.
    """
    from sklearn.manifold import TSNE, trustworthiness
    from threadpoolctl import threadpool_limits

    codes = np.flatnonzero(frames)
    if len(codes) < FEWEST:
        return None
    perplexity = min(config.perplexity, (len(codes) - 1) / 3)
    with threadpool_limits(1):  # sums depend in their last bits on the number of threads
        vectors = codebook[codes].astype(np.float64)
        mean, axes = weighted_pca(vectors, frames[codes], config.pca_dims)
        rows = (vectors - mean) @ axes
        model = TSNE(perplexity=perplexity, init="pca", max_iter=config.max_iter, random_state=config.seed)
        places = model.fit_transform(rows).astype(np.float64)
        trust = trustworthiness(rows, places, n_neighbors=min(NEIGHBOURS, (len(codes) - 1) // 2))
    low, high = places.min(axis=0), places.max(axis=0)
    return CodeMap(
        codes, (places - (low + high) / 2) / (high - low).max(), perplexity, float(trust), float(model.kl_divergence_)
    )
