"""A synthetic codec in memory: layer 1 tells the phone, layer 2 the speaker, layer 3 nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonoscope.config.probes import DepthConfig, MlpConfig, ProbeConfig
from phonoscope.data import Labels, Manifest, Split, Tokens
from phonoscope.probes import CodecInputs, LabelledFrames, ProbeResult, Task, pose, read_frames, run_probes
from phonoscope.probes.frames import ArrayVectors
from phonoscope.probes.pose import sample_utterances

PHONES = ("AA", "B", "M", "S")
SPEAKERS = tuple(f"s{i}" for i in range(6))
SIZE, DIMS = 32, 6


@dataclass(frozen=True)
class Planted:
    """A corpus of `utterances` x `frames` frames, with its manifest, split and codec."""

    frames: LabelledFrames
    inputs: CodecInputs
    manifest: Manifest
    split: Split

    def probe(self, config: ProbeConfig, workers: int = 1) -> ProbeResult:
        posed = pose(self.frames, self.manifest, self.split, config)
        sample = sample_utterances(self.manifest, self.split, config)
        return run_probes(posed, self.inputs, config, codec="planted", sample=sample, workers=workers)

    def read(self, tasks: Sequence[Task]) -> LabelledFrames:
        """The same frames out of a token table, with the targets of `tasks`."""
        names = self.manifest.utterances
        at = [self.frames.utterances == i for i in range(len(names))]
        codes = {name: self.frames.codes[rows].T for name, rows in zip(names, at, strict=True)}
        (phones, classes), (f0, _) = self.frames.targets["phone"], self.frames.targets["pitch"]
        labels = Labels.from_frames(np.array(names)[self.frames.utterances], np.array(classes)[phones], f0)
        return read_frames(Tokens.from_arrays(codes, [SIZE] * 3), labels, self.manifest, tasks)


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
    manifest = Manifest.from_arrays(
        [f"u{i:03d}" for i in range(utterances)],
        speaker=[SPEAKERS[i % len(SPEAKERS)] for i in range(utterances)],
        sex=["FM"[i % 2] for i in range(utterances)],
        accent=["x", "x", "x", "y", "y", "y"] * (utterances // 6),
        word=[["one", "two", ""][i // 6 % 3] for i in range(utterances)],
        text=[f"text {i // 6}" for i in range(utterances)],
    )
    f0 = np.where(phone == 3, np.nan, 100.0 + 20 * speaker)
    targets = {"phone": (phone, PHONES), "speaker": (speaker, SPEAKERS), "pitch": (f0, ())}
    codes = np.column_stack([codes for codes, _ in layers]).astype(np.int16)
    names, side = manifest.utterances, utterances * 3 // 4
    split = Split(names[:side], names[side:], [["s0", "s1"], ["s2", "s3"], ["s4", "s5"]])
    latent = sum(book[codes] for codes, book in layers) + rng.normal(scale=0.1, size=(len(phone), DIMS))
    inputs = CodecInputs(codes, [book for _, book in layers], ArrayVectors(np.asarray(latent)))
    return Planted(LabelledFrames(utterance, codes, dict(targets)), inputs, manifest, split)


def quick(**changes: Any) -> DepthConfig:
    """Settings for small data."""
    settings: dict[str, Any] = {
        "layers": (1, 2, 3),
        "inputs": ("layer", "cumulative", "latent"),
        "information": ("phone", "speaker"),
        "ranks": (2,),
        "mlp": MlpConfig(hidden=16, steps=40, batch_size=128),
        "blocks": (0.3, 0.6, 1.0),
        "label_permutations": 5,
        "text_folds": 2,
    }
    return DepthConfig(**{**settings, **changes})
