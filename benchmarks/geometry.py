"""Cluster scores and PCA of concatenated projections: in a compact basis or in full width."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benchmarks.measure import measure

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from phonoscope.geometry import Codebooks

CODES, RAW_DIMS = 1024, 8  # DAC: codes per layer, dimensions of a code
FRAMES, WORDS = 40, 10  # frames of a clip of 0.8 s; different words
PREFERRED, PREFERENCE = 64, 0.5  # codes per layer that a word prefers; share of frames with one of them
NAME = "projections_concat"
CHUNK_CLIPS = 1000


class Clips(NamedTuple):
    """Input of both methods."""

    tokens: Path
    codebooks: Codebooks
    words: list[str]
    """[clips]"""


class Result(NamedTuple):
    """Output in which both methods must agree."""

    silhouettes: NDArray[np.float64]
    """[scored clips]"""
    davies_bouldin: float
    explained_variance: NDArray[np.float64]
    """[3], variance shares of the first principal components."""


def bench_geometry(
    *, clips: int = 1000, layers: int = 12, dims: int = 1024, seed: int = 0, direct: bool = True
) -> dict[str, float]:
    """Time and memory of both methods from a token table to scores, each in a separate process.

    Direct: project the codes of every frame, average over time, concatenate the layers. Ours: code histograms times
    code vectors in an orthonormal basis of their span. Scores and PCA are the same functions. Without `direct` only
    ours runs. `max_difference` is the largest difference of a clip's silhouette, of the Davies-Bouldin score or of a
    component's share of the variance.
    """
    with TemporaryDirectory(prefix="phonoscope-bench-") as folder:
        _write(Path(folder), clips, layers, dims, seed)
        ours = measure(run_ours, Path(folder), prepare=prepare)
        report: dict[str, float] = {
            "clips": clips,
            "dims": layers * dims,
            "ours_s": ours.seconds,
            "ours_mb": ours.peak_mb,
        }
        if not direct:
            return report
        theirs = measure(run_direct, Path(folder), prepare=prepare)
    return report | {
        "direct_s": theirs.seconds,
        "direct_mb": theirs.peak_mb,
        "ratio": theirs.seconds / ours.seconds,
        "max_difference": _largest_difference(ours.value, theirs.value),
    }


def _largest_difference(one: Result, other: Result) -> float:
    return float(np.abs(np.hstack(one) - np.hstack(other)).max())


def prepare(folder: Path) -> Clips:
    """Load the codebooks and all modules that the two methods need."""
    import sklearn.decomposition
    import sklearn.metrics
    import sklearn.utils  # noqa: F401

    from phonoscope.files import read_safetensors
    from phonoscope.geometry import Codebooks, cluster_scores, pca, pool  # noqa: F401

    tensors, metadata = read_safetensors(folder / "codebooks.safetensors")
    return Clips(folder / "tokens.parquet", Codebooks.from_tensors(tensors), [str(word) for word in metadata["words"]])


def run_ours(clips: Clips) -> Result:
    """Pool in the compact basis and score."""
    from phonoscope.geometry import pool

    return _score(pool(clips.tokens, clips.codebooks, None, [NAME], compact=True)[NAME], clips.words)


def run_direct(clips: Clips) -> Result:
    """Project every frame, average over time, concatenate the layers and score."""
    import pyarrow.parquet as pq

    vectors = []
    with pq.ParquetFile(clips.tokens) as file:
        for batch in file.iter_batches(batch_size=FRAMES):  # a clip
            codes = [batch.column(f"code_{layer}").to_numpy() for layer in range(1, clips.codebooks.layers + 1)]
            projected = zip(clips.codebooks.vectors, codes, strict=True)
            vectors.append(np.concatenate([rows[layer_codes].mean(axis=0) for rows, layer_codes in projected]))
    return _score(np.stack(vectors), clips.words)


def _score(vectors: NDArray[np.float64], words: list[str]) -> Result:
    from phonoscope.geometry import cluster_scores, pca

    result = cluster_scores(vectors, words, permute=False)
    davies = next(score.value for score in result.scores if score.metric == "davies_bouldin")
    return Result(result.silhouettes.values, davies, pca(vectors, 3, seed=0)[1])


def _write(folder: Path, clips: int, layers: int, dims: int, seed: int) -> None:
    """Write codebooks with affine projections, and tokens of words that prefer some codes each."""
    import pyarrow.parquet as pq
    import torch

    from phonoscope.files import write_safetensors

    rng = np.random.default_rng(seed)
    tensors: dict[str, Any] = {}
    for layer in range(1, layers + 1):
        raw = rng.normal(size=(CODES, RAW_DIMS))
        projected = raw @ rng.normal(size=(RAW_DIMS, dims)) / layer + rng.normal(size=dims) / 10
        tensors |= {f"raw_{layer}": torch.from_numpy(raw), f"layer_{layer}": torch.from_numpy(projected)}
    words = np.arange(clips) % WORDS
    write_safetensors(folder / "codebooks.safetensors", tensors, {"words": words.tolist()})
    tables = _token_tables(words, layers, rng)
    first = next(tables)
    with pq.ParquetWriter(folder / "tokens.parquet", first.schema) as file:
        for table in chain([first], tables):
            file.write_table(table)


def _token_tables(words: NDArray[np.int64], layers: int, rng: np.random.Generator) -> Iterator[pa.Table]:
    """Token tables (utterance, code_1 ... code_L) of at most `CHUNK_CLIPS` clips each."""
    import pyarrow as pa

    preferred = rng.integers(CODES, size=(WORDS, layers, PREFERRED))
    for start in range(0, len(words), CHUNK_CLIPS):
        chunk = words[start : start + CHUNK_CLIPS]
        shape = (len(chunk), FRAMES)
        columns: dict[str, Any] = {"utterance": np.repeat([f"clip-{start + i:07d}" for i in range(len(chunk))], FRAMES)}
        for layer in range(layers):
            choice = preferred[chunk[:, None], layer, rng.integers(PREFERRED, size=shape)]
            codes = np.where(rng.random(shape) < PREFERENCE, choice, rng.integers(CODES, size=shape))
            columns[f"code_{layer + 1}"] = codes.astype(np.int16).ravel()
        yield pa.table(columns)
