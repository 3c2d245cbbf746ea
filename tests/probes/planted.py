"""Token tables with known structure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from phonoscope import paths
from phonoscope.config.probes import ProbeConfig
from phonoscope.data import Alignment, Codebooks, Interval, Labels, Manifest, Split, Tokens
from phonoscope.probes import ClassTable, ProbeResult, probe_tokens

RATE_HZ = 100.0


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

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """Whether each frame is one of eval."""
        return np.isin(self.names, self.evaluation)

    @property
    def names(self) -> NDArray[np.str_]:
        """The utterance of each frame."""
        return np.array(self.utterances)[self.utterance]

    @property
    def tokens(self) -> Tokens:
        parts = {name: self.codes[self.utterance == i].T for i, name in enumerate(self.utterances)}
        return Tokens.from_arrays(parts, [len(book) for book in self.codebooks], RATE_HZ)

    @property
    def manifest(self) -> Manifest:
        return Manifest.from_arrays(self.utterances, speaker=[self.speakers[name] for name in self.utterances])

    @property
    def split(self) -> Split:
        return Split(self.train, self.evaluation)

    def probe(self, config: ProbeConfig, codec: str = "toy", workers: int = 1) -> ProbeResult:
        labels = Labels.from_frames(self.names, self.phone, self.f0_hz)
        data = self.tokens, self.codebooks, labels, self.manifest, self.split
        return probe_tokens(*data, config, codec=codec, workers=workers)

    def checkout(self, codec: str) -> None:
        """Write all files that stage `probe` reads."""
        self.manifest.save(paths.MANIFEST)
        self.split.save(paths.SPLIT)
        self.tokens.save(paths.tokens(codec))
        Codebooks.from_arrays(self.codebooks, [book[:, :3] for book in self.codebooks]).save(paths.codebooks(codec))
        alignments: dict[str, Alignment] = {}
        tracks: dict[str, Any] = {}
        for i, name in enumerate(self.utterances):
            rows = np.flatnonzero(self.utterance == i)
            bounds = np.arange(len(rows) + 1) / RATE_HZ
            phones = [Interval(*span, str(self.phone[row])) for span, row in zip(pairwise(bounds), rows, strict=True)]
            alignments[name] = Alignment([], phones)
            tracks[name] = (np.arange(len(rows)) + 0.5) / RATE_HZ, self.f0_hz[rows]
        Labels.from_intervals(alignments, tracks).save(paths.ALIGNMENTS)


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
