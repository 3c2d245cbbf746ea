"""Cluster scores and PCA of concatenated projections: in a compact basis or in full width."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.measure import measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.data import Codebooks, Tokens

CODES, RAW_DIMS = 1024, 8  # DAC: codes per layer, dimensions of a code
FRAMES, WORDS = 40, 10  # frames of a clip of 0.8 s; different words
PREFERRED, PREFERENCE = 64, 0.5  # codes per layer that a word prefers; share of frames with one of them
NAME = "projections_concat"
CHUNK_CLIPS = 1000


class Clips(NamedTuple):
    """Input of both methods."""

    tokens: Tokens
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

    from phonoscope.data import Codebooks, Tokens
    from phonoscope.data.tables import read_json
    from phonoscope.geometry import cluster_scores, pca, pool  # noqa: F401

    books = Codebooks.load(folder / "codebooks.safetensors")
    return Clips(Tokens.load(folder / "tokens.parquet"), books, read_json(folder / "words.json")["words"])


def run_ours(clips: Clips) -> Result:
    """Pool in the compact basis and score."""
    from phonoscope.geometry import pool

    return _score(pool(clips.tokens, clips.codebooks, None, [NAME], compact=True)[NAME], clips.words)


def run_direct(clips: Clips) -> Result:
    """Project every frame, average over time, concatenate the layers and score."""
    vectors = []
    for batch in clips.tokens.batches(batch_frames=FRAMES):  # a clip
        projected = zip(clips.codebooks.vectors, batch.codes.T, strict=True)
        vectors.append(np.concatenate([rows[codes].astype(np.float64).mean(axis=0) for rows, codes in projected]))
    return _score(np.stack(vectors), clips.words)


def _score(vectors: NDArray[np.float64], words: list[str]) -> Result:
    from phonoscope.geometry import cluster_scores, pca

    result = cluster_scores(vectors, words, permute=False)
    davies = next(score.value for score in result.scores if score.metric == "davies_bouldin")
    return Result(result.silhouettes.values, davies, pca(vectors, 3, seed=0)[1])


def _write(folder: Path, clips: int, layers: int, dims: int, seed: int) -> None:
    """Write codebooks with affine projections, and tokens of words that prefer some codes each."""
    from phonoscope.data import Codebooks, Tokens
    from phonoscope.files import write_json

    rng = np.random.default_rng(seed)
    stored, summed = [], []
    for layer in range(1, layers + 1):
        raw = rng.normal(size=(CODES, RAW_DIMS))
        projected = raw @ rng.normal(size=(RAW_DIMS, dims)) / layer + rng.normal(size=dims) / 10
        stored.append(raw)
        summed.append(projected)
    words = np.arange(clips) % WORDS
    Codebooks.from_arrays(summed, stored).save(folder / "codebooks.safetensors")
    write_json(folder / "words.json", {"words": [str(word) for word in words]})
    with Tokens.writer(folder / "tokens.parquet", [CODES] * layers, FRAMES) as add:
        for part in _token_parts(words, layers, rng):
            add(part)


def _token_parts(words: NDArray[np.int64], layers: int, rng: np.random.Generator) -> Iterator[Tokens]:
    """Tokens of at most `CHUNK_CLIPS` clips each."""
    from phonoscope.data import Tokens

    preferred = rng.integers(CODES, size=(WORDS, layers, PREFERRED))
    for start in range(0, len(words), CHUNK_CLIPS):
        chunk = words[start : start + CHUNK_CLIPS]
        shape = (len(chunk), FRAMES)
        codes = []
        for layer in range(layers):
            choice = preferred[chunk[:, None], layer, rng.integers(PREFERRED, size=shape)]
            codes.append(np.where(rng.random(shape) < PREFERENCE, choice, rng.integers(CODES, size=shape)))
        stacked = np.stack(codes, axis=1)  # [clips, layers, frames]
        clips = {f"clip-{start + i:07d}": stacked[i] for i in range(len(chunk))}
        yield Tokens.from_arrays(clips, [CODES] * layers, FRAMES)
