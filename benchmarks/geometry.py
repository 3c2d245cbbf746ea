"""Cluster scores and PCA of concatenated projections: in a compact basis or in full width."""

from __future__ import annotations

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
    words: list[str]  # [clips]


class Result(NamedTuple):
    """Output in which both methods must agree."""

    silhouettes: NDArray[np.float64]  # [scored clips]
    davies_bouldin: float
    explained_variance: NDArray[np.float64]  # [3], variance shares of the first principal components


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
        report: dict[str, float] = {"clips": clips, "dims": layers * dims}
        report |= {"ours_s": ours.seconds, "ours_mb": ours.peak_mb}
        if not direct:
            return report
        theirs = measure(run_direct, Path(folder), prepare=prepare)
    return report | {
        "direct_s": theirs.seconds,
        "direct_mb": theirs.peak_mb,
        "ratio": theirs.seconds / ours.seconds,
        "max_difference": float(np.abs(np.hstack(ours.value) - np.hstack(theirs.value)).max()),
    }


def prepare(folder: Path) -> Clips:
    """Load the codebooks and all modules that the two methods need."""
    import sklearn.decomposition
    import sklearn.metrics
    import sklearn.utils  # noqa: F401

    from phonoscope.data import Codebooks, Tokens
    from phonoscope.geometry import cluster_scores, pca, pool  # noqa: F401

    tokens = Tokens.load(folder / "tokens.parquet")
    words = [name.split("-")[1] for name in tokens.utterances]
    return Clips(tokens, Codebooks.load(folder / "codebooks.safetensors"), words)


def run_ours(clips: Clips) -> Result:
    """Pool in the compact basis and score."""
    from phonoscope.geometry import pool

    return _score(pool(clips.tokens, clips.codebooks, None, [NAME], compact=True)[NAME], clips.words)


def run_direct(clips: Clips) -> Result:
    """Project every frame, average over time, concatenate the layers and score."""
    books = [rows.astype(np.float64) for rows in clips.codebooks.vectors]
    vectors = []
    for batch in clips.tokens.batches(batch_frames=FRAMES):  # a clip
        projected = zip(books, batch.codes.T, strict=True)
        vectors.append(np.concatenate([rows[layer_codes].mean(axis=0) for rows, layer_codes in projected]))
    return _score(np.stack(vectors), clips.words)


def _score(vectors: NDArray[np.float64], words: list[str]) -> Result:
    from phonoscope.geometry import cluster_scores, pca

    result = cluster_scores(vectors, words)
    davies = next(score.value for score in result.scores if score.metric == "davies_bouldin")
    return Result(result.silhouettes.values, davies, pca(vectors, 3, seed=0)[1])


def _write(folder: Path, clips: int, layers: int, dims: int, seed: int) -> None:
    """Write codebooks with affine projections, and tokens of words that prefer some codes each."""
    from phonoscope.data import Codebooks, Tokens

    rng = np.random.default_rng(seed)
    raw = [rng.normal(size=(CODES, RAW_DIMS)) for _ in range(layers)]
    maps = [(rng.normal(size=(RAW_DIMS, dims)) / layer, rng.normal(size=dims) / 10) for layer in range(1, layers + 1)]
    projected = [rows @ slope + offset for rows, (slope, offset) in zip(raw, maps, strict=True)]
    codebooks = Codebooks.from_arrays(projected, raw)
    codebooks.save(folder / "codebooks.safetensors")
    preferred = rng.integers(CODES, size=(WORDS, layers, PREFERRED))
    with Tokens.writer(folder / "tokens.parquet", codebooks.sizes, frame_rate_hz=50) as add:
        for start in range(0, clips, CHUNK_CLIPS):
            chunk = range(start, min(start + CHUNK_CLIPS, clips))
            codes = {f"word-{clip % WORDS}-{clip:07d}": _codes(preferred[clip % WORDS], rng) for clip in chunk}
            add(Tokens.from_arrays(codes, codebooks.sizes))


def _codes(preferred: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Codes [layers, frames] of a clip whose word prefers some codes, `preferred` [layers, PREFERRED]."""
    shape = (len(preferred), FRAMES)
    choice = np.take_along_axis(preferred, rng.integers(PREFERRED, size=shape), axis=1)
    return np.where(rng.random(shape) < PREFERENCE, choice, rng.integers(CODES, size=shape))
