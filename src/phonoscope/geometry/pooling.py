"""One vector a clip and representation: code histograms times codebooks, streamed from a token table."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from phonoscope.config.geometry import FOUR
from phonoscope.errors import DataError
from phonoscope.geometry.codebooks import Codebooks
from phonoscope.geometry.representations import Alias, Pooling, coinciding, expand, pooling_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

BATCH_FRAMES = 65_536
UNPOOLED = ("latent", "histogram")
"""Representations that are no product of histogram and codebook."""
Vectors = Any
"""[n, dims] float64; the histogram is a sparse matrix."""


@dataclass(frozen=True)
class Pooled:
    """Vectors of some clips; `pooled["codes_concat"]` is [n, dims]."""

    utterances: list[str]
    """[n]"""
    frames: NDArray[np.int64]
    """[n], frames of each clip."""
    vectors: dict[str, Vectors]
    """By representation; those of `same_as` are not repeated here."""
    dims: dict[str, int]
    """Dimensions of each representation by definition; compact vectors have fewer."""
    rank_bounds: dict[str, int]
    """The largest rank that codebooks and dimensions allow, whatever the clips."""
    same_as: dict[str, Alias]
    """Representations that coincide with another one, which was computed once."""

    def __getitem__(self, name: str) -> Vectors:
        """The vectors of a representation, [n, dims]."""
        alias = self.same_as.get(name)
        return self.vectors[name] if alias is None else self.vectors[alias.of] * alias.factor

    def __len__(self) -> int:
        return len(self.utterances)

    def take(self, rows: NDArray[np.int64]) -> Pooled:
        """Only the clips at these rows."""
        return replace(
            self,
            utterances=[self.utterances[row] for row in rows],
            frames=self.frames[rows],
            vectors={name: vectors[rows] for name, vectors in self.vectors.items()},
        )


class _Batch(NamedTuple):
    """Consecutive frames: which of the clips asked for each belongs to, [f], and its codes [f, L]."""

    clips: NDArray[np.int64]
    codes: NDArray[np.int64]


def pool(
    tokens: Path,
    codebooks: Codebooks,
    utterances: Sequence[str] | None = None,
    representations: Sequence[str] = FOUR,
    *,
    compact: bool = False,
    latents: Path | None = None,
) -> Pooled:
    """Pool clips of a token table (utterance, code_1 ... code_L) over time.

    Args:
        tokens: a Parquet file; it is read batch by batch, in any order of rows.
        utterances: the clips, in the order wanted; None takes all.
        representations: codes_mean [n, d], codes_concat [n, L d], latent_sum [n, D], projections_concat [n, L D],
            layer_1 ... layer_L [n, D] or `layers` for all of them, histogram [n, L K] (sparse), latent [n, D].
        compact: give vectors of the same inner products, hence Euclidean distances and cosines, in fewer dimensions.
        latents: the Parquet file (utterance, latent) of the encoder's time-means, for `latent`.

    Clips without a frame (shorter than one) are left out and logged. Raises `DataError` if the table is missing or
    does not fit the codebooks, or if no clip is left.
    """
    names = expand(representations, codebooks.layers)
    same_as = coinciding(names, codebooks)
    own = [name for name in names if name not in same_as]
    poolings = {name: pooling_of(name, codebooks, compact=compact) for name in own if name not in UNPOOLED}
    utterances = _all_utterances(tokens) if utterances is None else list(utterances)
    frames, sums = _accumulate(tokens, codebooks, utterances, poolings, histogram="histogram" in own)
    kept = _with_frames(utterances, frames, tokens)
    utterances, frames = [utterances[row] for row in kept], frames[kept]
    vectors = {name: _per_frame(sums.pop(name)[kept], frames, poolings.get(name)) for name in list(sums)}
    if "latent" in own:
        vectors["latent"] = read_latents(latents, utterances)
    sizes = {name: _size(name, codebooks, vectors) for name in names}
    return Pooled(
        utterances=utterances,
        frames=frames,
        vectors={name: vectors[name] for name in own},
        dims={name: dims for name, (dims, _) in sizes.items()},
        rank_bounds={name: bound for name, (_, bound) in sizes.items()},
        same_as=same_as,
    )


def compact_width(representations: Sequence[str], codebooks: Codebooks) -> int:
    """Numbers that `pool(..., compact=True)` holds of a clip, without `latent` and the sparse histogram."""
    names = expand(representations, codebooks.layers)
    own = [name for name in names if name not in UNPOOLED and name not in coinciding(names, codebooks)]
    return sum(pooling_of(name, codebooks, compact=True).width for name in own)


def pool_codes(
    codes: NDArray[Any], codebooks: Codebooks, representations: Sequence[str] = FOUR
) -> dict[str, NDArray[np.float64]]:
    """The representations of one clip's codes [L, F], each [dims]. Raises `DataError` for codes without a frame."""
    if not codes.size:
        raise DataError("the clip is shorter than one frame of the codec; give a longer one")
    _check_codes(codes.T.astype(np.int64), codebooks, "the clip")
    counts = np.stack([np.bincount(row, minlength=codebooks.size) for row in codes]) / codes.shape[1]
    found = {}
    for name in expand(representations, codebooks.layers):
        own = counts.reshape(-1) if name == "histogram" else pooling_of(name, codebooks).apply(counts[:, None])[0]
        found[name] = own
    return found


def _size(name: str, codebooks: Codebooks, vectors: dict[str, Vectors]) -> tuple[int, int]:
    """Dimensions of a representation and the rank they allow."""
    if name == "histogram":
        return codebooks.layers * codebooks.size, codebooks.layers * (codebooks.size - 1)
    if name == "latent":
        dims = int(vectors["latent"].shape[1])
        return dims, dims
    pooling = pooling_of(name, codebooks)
    return pooling.dims, pooling.bound


def _accumulate(
    tokens: Path, codebooks: Codebooks, utterances: Sequence[str], poolings: dict[str, Pooling], *, histogram: bool
) -> tuple[NDArray[np.int64], dict[str, Vectors]]:
    """Frames of each clip, and the sums of its frames' vectors."""
    from scipy.sparse import csr_array, hstack, vstack

    n, layers, size = len(utterances), codebooks.layers, codebooks.size
    frames, sums = np.zeros(n, dtype=np.int64), dict[str, Vectors]()
    stacked, owners = [], []
    for clips, codes in _batches(tokens, codebooks, utterances):
        rows, local = np.unique(clips, return_inverse=True)
        ones = np.ones(len(local))
        counts = [csr_array((ones, (local, codes[:, i])), shape=(len(rows), size)) for i in range(layers)]
        frames[rows] += np.bincount(local)
        for name, pooling in poolings.items():
            part = pooling.apply(counts)
            sums.setdefault(name, np.zeros((n, part.shape[1])))[rows] += part
        if histogram:
            stacked.append(hstack(counts, format="csr"))
            owners.append(rows)
    if histogram and stacked:
        owner = np.concatenate(owners)  # a clip may lie in two batches
        gather = csr_array((np.ones(len(owner)), (owner, np.arange(len(owner)))), shape=(n, len(owner)))
        sums["histogram"] = csr_array(gather @ vstack(stacked, format="csr"))
    return frames, sums


def _per_frame(sums: Vectors, frames: NDArray[np.int64], pooling: Pooling | None) -> Vectors:
    """Sums over a clip's frames as their mean, with the offset of a compact form."""
    from scipy.sparse import diags_array

    if pooling is None:
        return diags_array(1 / frames, format="csr") @ sums
    sums /= frames[:, None]
    return np.column_stack([sums, np.full(len(sums), pooling.offset)]) if pooling.offset else sums


def _with_frames(utterances: Sequence[str], frames: NDArray[np.int64], tokens: Path) -> NDArray[np.int64]:
    """Rows of the clips that have a frame. Raises `DataError` if there is none."""
    empty = [name for name, count in zip(utterances, frames, strict=True) if not count]
    if len(empty) == len(utterances):
        raise DataError(f"{tokens}: none of {len(utterances)} clips has a frame; run `dvc repro encode`")
    if empty:
        logger.warning("%d clips have no frame, too short or not encoded, and are left out: %s", len(empty), empty[:5])
    return np.flatnonzero(frames)


def _open(tokens: Path) -> Any:
    import pyarrow.parquet as pq

    if not tokens.exists():
        raise DataError(f"{tokens}: no such token table; run `dvc repro encode`")
    return pq.ParquetFile(tokens)


def _all_utterances(tokens: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.compute as pc

    with _open(tokens) as file:
        names = [pc.unique(batch.column(0).cast(pa.string())) for batch in file.iter_batches(columns=["utterance"])]
    return list(dict.fromkeys(str(name) for part in names for name in part.to_pylist()))


def _batches(tokens: Path, codebooks: Codebooks, utterances: Sequence[str]) -> Iterator[_Batch]:
    """The frames of the clips asked for. Raises `DataError` if table and codebooks do not fit."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = pa.array(utterances, pa.string())
    columns = [f"code_{layer}" for layer in range(1, codebooks.layers + 1)]
    with _open(tokens) as file:
        there = [name for name in file.schema_arrow.names if name.startswith("code_")]
        if sorted(there) != sorted(columns):
            raise DataError(
                f"{tokens}: {len(there)} code columns for codebooks of {codebooks.layers} layers; rebuild both with "
                "`dvc repro encode`"
            )
        for batch in file.iter_batches(batch_size=BATCH_FRAMES, columns=["utterance", *columns]):
            index = pc.index_in(batch.column("utterance").cast(pa.string()), value_set=wanted)
            batch, index = batch.filter(index.is_valid()), index.drop_null()
            if not len(index):
                continue
            codes = np.column_stack([batch.column(name).to_numpy() for name in columns]).astype(np.int64)
            _check_codes(codes, codebooks, str(tokens))
            yield _Batch(index.to_numpy().astype(np.int64), codes)


def _check_codes(codes: NDArray[np.int64], codebooks: Codebooks, source: str) -> None:
    """Raise `DataError` unless codes [f, L] fit the codebooks."""
    if codes.shape[1] != codebooks.layers:
        raise DataError(f"{source}: codes of {codes.shape[1]} layers for codebooks of {codebooks.layers}")
    if codes.min() < 0 or codes.max() >= codebooks.size:
        raise DataError(f"{source}: codes from {codes.min()} to {codes.max()} for codebooks of {codebooks.size} rows")


def read_latents(latents: Path | None, utterances: Sequence[str]) -> NDArray[np.float64]:
    """The time-mean of the encoder's output, [n, D]. Raises `DataError` if the table or a clip of it is missing."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if latents is None or not latents.exists():
        raise DataError(f"{latents or 'latents'}: no table of latents; run `dvc repro encode`")
    table = pq.read_table(latents, columns=["utterance", "latent"])
    places = pc.index_in(pa.array(utterances, pa.string()), value_set=table["utterance"].cast(pa.string()))
    if places.null_count:
        missing = utterances[pc.indices_nonzero(places.is_null())[0].as_py()]
        raise DataError(f"{latents}: no latent of {missing!r}; rebuild it with `dvc repro encode`")
    column = table["latent"].take(places).combine_chunks()
    return column.flatten().to_numpy().reshape(len(utterances), -1).astype(np.float64)
