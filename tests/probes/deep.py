"""A synthetic codec in memory: layer 1 tells the phone, layer 2 the speaker, layer 3 nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from phonoscope.config.probes import BootstrapConfig
from phonoscope.probes import DepthConfig, MlpConfig, TokenFrames, Vectors

PHONES = ("AA", "B", "M", "S")
SPEAKERS = tuple(f"s{i}" for i in range(6))
SIZE, DIMS = 32, 6


@dataclass(frozen=True)
class Planted:
    """A corpus of `utterances` x `frames` frames, with its manifest, split and codec."""

    frames: TokenFrames
    vectors: Vectors
    manifest: dict[str, list[str]]
    split: dict[str, Any]

    def write(self, path: Path) -> Path:
        """Its tokens.parquet; the phone column holds the task `phone`."""
        labels, classes = self.frames.labels["phone"]
        columns: dict[str, Any] = {
            "utterance": np.array(self.manifest["utterance"])[self.frames.utterances],
            "phone": np.array(classes)[labels],
            "f0_hz": pa.array(self.frames.f0_hz, pa.float32()),
        }
        columns |= {f"code_{layer}": codes for layer, codes in enumerate(self.frames.codes.T, start=1)}
        pq.write_table(pa.table(columns), path)
        return path


def plant(*, utterances: int = 48, frames: int = 40, reliability: float = 0.9, seed: int = 0) -> Planted:
    """Layer 1 has the phone's code, layer 2 the speaker's, in a share `reliability` of frames; any other else."""
    rng = np.random.default_rng(seed)
    utterance = np.repeat(np.arange(utterances), frames)
    phone = rng.integers(len(PHONES), size=len(utterance) // 4).repeat(4)
    speaker = (np.arange(utterances) % len(SPEAKERS))[utterance]

    def layer(label: NDArray[np.int64], classes: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        home = rng.integers(SIZE // classes, size=len(label)) * classes + label
        codes = np.where(rng.random(len(label)) < reliability, home, rng.integers(SIZE, size=len(label)))
        centres = 3 * rng.normal(size=(classes, DIMS))
        book = centres[np.arange(SIZE) % classes] + 0.3 * rng.normal(size=(SIZE, DIMS))
        return codes, book.astype(np.float32)

    layers = [layer(phone, len(PHONES)), layer(speaker, len(SPEAKERS)), layer(rng.integers(4, size=len(phone)), 4)]
    manifest = {
        "utterance": [f"u{i:03d}" for i in range(utterances)],
        "speaker": [SPEAKERS[i % len(SPEAKERS)] for i in range(utterances)],
        "sex": ["FM"[i % 2] for i in range(utterances)],
        "accent": ["x", "x", "x", "y", "y", "y"] * (utterances // 6),
        "word": [["one", "two", ""][i // 6 % 3] for i in range(utterances)],
        "text": [f"text {i // 6}" for i in range(utterances)],
    }
    classes = {"phone": (phone, PHONES), "speaker": (speaker, SPEAKERS)}
    f0 = np.where(phone == 3, np.nan, 100.0 + 20 * speaker)
    codes = np.column_stack([codes for codes, _ in layers]).astype(np.int16)
    table = TokenFrames(utterance, codes, f0, dict(classes))
    names = manifest["utterance"]
    folds = [["s0", "s1"], ["s2", "s3"], ["s4", "s5"]]
    split = {"train": names[: utterances * 3 // 4], "eval": names[utterances * 3 // 4 :], "speaker_folds": folds}
    latent = sum(book[codes] for codes, book in layers) + rng.normal(scale=0.1, size=(len(phone), DIMS))
    return Planted(table, Vectors([book for _, book in layers], np.asarray(latent)), manifest, split)


def quick(**changes: Any) -> DepthConfig:
    """Settings for small data."""
    settings: dict[str, Any] = {
        "layers": (1, 2, 3),
        "inputs": ("layer", "cumulative", "latent"),
        "information": ("phone", "speaker"),
        "matched_dims": 2,
        "mlp": MlpConfig(hidden=16, steps=40, batch_size=128),
        "blocks": (0.3, 0.6, 1.0),
        "permutations": 5,
        "text_folds": 2,
        "bootstrap": BootstrapConfig(samples=100),
    }
    return DepthConfig(**{**settings, **changes})
