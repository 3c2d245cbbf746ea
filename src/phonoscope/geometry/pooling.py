"""One vector per clip and representation: code histograms times codebooks, streamed from a token table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, hstack, vstack

from phonoscope.config.geometry import FOUR
from phonoscope.data.codebooks import Codebooks
from phonoscope.data.latents import read_mean_latents
from phonoscope.data.tokens import Tokens
from phonoscope.errors import DataError
from phonoscope.geometry.representations import Alias, Pooling, coinciding, expand, pooling_of
from phonoscope.geometry.scores import dense

logger = logging.getLogger(__name__)

UNPOOLED = ("latent", "histogram")  # representations that are not a product of histogram and codebook
Vectors = Any  # [n, dims] float64; the histogram is a sparse matrix


@dataclass(frozen=True)
class Pooled:
    """Vectors of some clips; `pooled["codes_concat"]` is [n, dims]."""

    utterances: list[str]  # [n]
    frames: NDArray[np.int64]  # [n], frames of each clip
    vectors: dict[str, Vectors]  # by representation; those of `same_as` are not repeated here
    dims: dict[str, int]  # dimensions of each representation by definition; compact vectors have fewer
    rank_bounds: dict[str, int]  # the largest rank that codebooks and dimensions allow, whatever the clips
    same_as: dict[str, Alias]  # representations that coincide with another one, which was computed once

    def __getitem__(self, name: str) -> Vectors:
        """The vectors of a representation, [n, dims]."""
        alias = self.same_as.get(name)
        return self.vectors[name] if alias is None else self.vectors[alias.of] * alias.factor

    def take(self, rows: NDArray[np.int64]) -> Pooled:
        utterances = [self.utterances[row] for row in rows]
        vectors = {name: vectors[rows] for name, vectors in self.vectors.items()}
        return replace(self, utterances=utterances, frames=self.frames[rows], vectors=vectors)


def pool(
    tokens: Tokens,
    codebooks: Codebooks,
    utterances: Sequence[str] | None = None,
    representations: Sequence[str] = FOUR,
    *,
    compact: bool = False,
    latents: Path | None = None,
) -> Pooled:
    """Pool clips of a token table over time.

    Args:
        tokens: read batch by batch, in any order of rows.
        utterances: the clips, in the order of the result; None takes all.
        representations: codes_mean [n, d], codes_concat [n, L d], latent_sum [n, D], projections_concat [n, L D],
            layer_1 ... layer_L [n, D] or `layers` for all of them, histogram [n, sum K_l] (sparse), latent [n, D].
        compact: give vectors of the same inner products, hence Euclidean distances and cosines, in fewer dimensions.
        latents: the file of the encoder's time-means (`data.latents.mean_latent_table`), for `latent`.

    Clips without a frame (shorter than one) are left out and logged. Raises `DataError` if tokens do not fit the
    codebooks, or if no clip is left.
    """
    if tokens.sizes != codebooks.sizes:
        raise DataError(f"{tokens.name}: codes of codebooks of {tokens.sizes} rows, not of {codebooks.sizes}")
    names = expand(representations, codebooks.layers)
    same_as = coinciding(names, codebooks)
    computed = [name for name in names if name not in same_as]
    poolings = {name: pooling_of(name, codebooks, compact=compact) for name in computed if name not in UNPOOLED}
    utterances = tokens.utterances if utterances is None else list(utterances)
    frames, sums = _accumulate(tokens, codebooks, utterances, poolings, histogram="histogram" in computed)
    kept, empty = np.flatnonzero(frames), [utterances[row] for row in np.flatnonzero(frames == 0)]
    if not len(kept):
        raise DataError(f"{tokens.name}: none of {len(utterances)} clips has a frame")
    if empty:
        logger.warning("%d clips have no frame, too short or not encoded, and are left out: %s", len(empty), empty[:5])
    utterances, frames = [utterances[row] for row in kept], frames[kept]
    vectors = {name: _per_frame(sums.pop(name)[kept], frames, poolings.get(name)) for name in list(sums)}
    if "latent" in computed:
        if latents is None:
            raise DataError("the representation latent needs a file of latents")
        vectors["latent"] = read_mean_latents(latents, utterances)
    sizes = {name: _size(name, codebooks, vectors) for name in names}
    dims = {name: size for name, (size, _) in sizes.items()}
    bounds = {name: bound for name, (_, bound) in sizes.items()}
    return Pooled(utterances, frames, {name: vectors[name] for name in computed}, dims, bounds, same_as)


def compact_width(representations: Sequence[str], codebooks: Codebooks) -> int:
    """Numbers per clip of `pool(..., compact=True)`, without `latent` and the sparse histogram."""
    names = expand(representations, codebooks.layers)
    computed = [name for name in names if name not in UNPOOLED and name not in coinciding(names, codebooks)]
    return sum(pooling_of(name, codebooks, compact=True).width for name in computed)


def pool_codes(
    codes: NDArray[Any], codebooks: Codebooks, representations: Sequence[str] = FOUR
) -> dict[str, NDArray[np.float64]]:
    """The representations of one clip's codes [L, F], each [dims]. Raises `DataError` for codes without a frame."""
    if not codes.size:
        raise DataError("the clip is shorter than one frame of the codec; give a longer one")
    pooled = pool(Tokens.from_arrays({"the clip": codes}, codebooks.sizes), codebooks, None, representations)
    return {name: dense(pooled[name])[0] for name in pooled.dims}


def _size(name: str, codebooks: Codebooks, vectors: dict[str, Vectors]) -> tuple[int, int]:
    if name == "histogram":
        return sum(codebooks.sizes), sum(codebooks.sizes) - codebooks.layers
    if name == "latent":
        dims = int(vectors["latent"].shape[1])
        return dims, dims
    pooling = pooling_of(name, codebooks)
    return pooling.dims, pooling.bound


def _accumulate(
    tokens: Tokens, codebooks: Codebooks, utterances: Sequence[str], poolings: dict[str, Pooling], *, histogram: bool
) -> tuple[NDArray[np.int64], dict[str, Vectors]]:
    """Frames of each clip, and the sums of its frames' vectors."""
    n = len(utterances)
    frames, sums = np.zeros(n, dtype=np.int64), dict[str, Vectors]()
    stacked, owners = [], []
    for batch in tokens.batches(utterances):
        rows, local = np.unique(batch.utterances, return_inverse=True)
        # a clip's histogram, then one product with the rows: a frame-level vector is never made
        ones = np.ones(len(local))
        counts = [
            csr_array((ones, (local, codes)), shape=(len(rows), size))
            for codes, size in zip(batch.codes.T, codebooks.sizes, strict=True)
        ]
        frames[rows] += np.bincount(local)
        for name, pooling in poolings.items():
            part = pooling.apply(counts)
            sums.setdefault(name, np.zeros((n, part.shape[1])))[rows] += part
        if histogram:
            stacked.append(hstack(counts, format="csr"))
            owners.append(rows)
    if histogram and stacked:
        # a clip may lie in two batches: its rows are added up by a product, which keeps them sparse
        owner = np.concatenate(owners)
        gather = csr_array((np.ones(len(owner)), (owner, np.arange(len(owner)))), shape=(n, len(owner)))
        sums["histogram"] = csr_array(gather @ vstack(stacked, format="csr"))
    return frames, sums


def _per_frame(sums: Vectors, frames: NDArray[np.int64], pooling: Pooling | None) -> Vectors:
    """Sums over a clip's frames as their mean, with the offset of a compact form."""
    if pooling is None:
        return diags_array(1 / frames, format="csr") @ sums
    sums /= frames[:, None]
    return np.column_stack([sums, np.full(len(sums), pooling.offset)]) if pooling.offset else sums
