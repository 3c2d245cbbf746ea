"""Token tables with known structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.special import softmax

from phonoscope.probes.tables import ClassTable


@dataclass
class Corpus:
    """Frames of a synthetic corpus, column by column."""

    utterances: list[str]
    utterance: NDArray[np.int64]
    phone: list[str | None]
    f0_hz: NDArray[np.float32]
    codes: NDArray[np.int16]
    speakers: dict[str, str]
    codebooks: list[NDArray[np.float32]] = field(default_factory=list)

    @property
    def train(self) -> list[str]:
        return self.utterances[: len(self.utterances) * 3 // 4]

    @property
    def evaluation(self) -> list[str]:
        return self.utterances[len(self.utterances) * 3 // 4 :]

    def frames_of(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        return np.isin(np.array(self.utterances)[self.utterance], np.array(ids))

    def write(self, path: Path) -> Path:
        """Write a tokens.parquet with one row group an utterance."""
        columns = {
            "utterance": pa.array(np.array(self.utterances)[self.utterance]),
            "frame": pa.array(np.arange(len(self.utterance)), pa.int32()),
            "phone": pa.array(self.phone, pa.string()).dictionary_encode(),
            "f0_hz": pa.array(self.f0_hz, pa.float32()),
        }
        columns |= {f"code_{layer}": pa.array(codes) for layer, codes in enumerate(self.codes.T, start=1)}
        table = pa.table(columns)
        with pq.ParquetWriter(path, table.schema) as writer:
            for index in range(len(self.utterances)):
                writer.write_table(table.filter(pa.array(self.utterance == index)))
        return path


def make_corpus(
    codebook: NDArray[np.float32], *, utterances: int = 40, frames: int = 150, phones: int = 6, seed: int = 0
) -> Corpus:
    """Two layers on one codebook. Layer 1 tells phone and pitch linearly from its row; layer 2 tells nothing.

    The speakers take turns; every fifth frame is SIL and every third unvoiced.
    """
    rng = np.random.default_rng(seed)
    size, dims = codebook.shape
    directions = np.linalg.qr(rng.normal(size=(dims, dims)))[0][:phones] * 4
    code = rng.integers(size, size=(utterances * frames, 2))
    logits = codebook[code[:, 0]] @ directions.T
    label = np.array([rng.choice(phones, p=p) for p in softmax(logits, axis=1)])
    names = np.array([f"P{i}" for i in range(phones)], dtype=object)[label]
    names[::5] = "SIL"
    f0 = 150 + 30 * (codebook[code[:, 0]] @ directions[0]) / 4 + rng.normal(scale=3, size=len(label))
    f0[::3] = np.nan
    ids = [f"u{i:03d}" for i in range(utterances)]
    return Corpus(
        utterances=ids,
        utterance=np.repeat(np.arange(utterances), frames),
        phone=list(names),
        f0_hz=f0.astype(np.float32),
        codes=code.astype(np.int16),
        speakers={name: f"s{i % 4}" for i, name in enumerate(ids)},
        codebooks=[codebook, codebook],
    )


def make_table(
    size: int, classes: int, frames: int, codebook: NDArray[np.floating], *, geometry: float, own: float, seed: int
) -> ClassTable:
    """Frames whose class depends on the code's row (`geometry`) and on the code itself (`own`); uneven classes."""
    rng = np.random.default_rng(seed)
    rows = (codebook - codebook.mean(axis=0)) / codebook.std(axis=0)
    logits = geometry * rows @ rng.normal(size=(rows.shape[1], classes)) / np.sqrt(rows.shape[1])
    logits = logits + own * rng.normal(size=(size, classes)) + np.log(rng.dirichlet(np.ones(classes)) + 1e-3)
    shares = rng.dirichlet(np.ones(size) * 1.5)[:, None] * softmax(logits, axis=1)
    counts = rng.multinomial(frames, (shares / shares.sum()).ravel()).reshape(size, classes)
    return ClassTable(tuple(f"c{i:03d}" for i in range(classes)), counts)


def expand(table: ClassTable) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """The frames behind a table: their codes and class names."""
    code, label = np.nonzero(table.counts)
    repeats = table.counts[code, label]
    return np.repeat(code, repeats), np.repeat(np.array(table.classes)[label], repeats)
