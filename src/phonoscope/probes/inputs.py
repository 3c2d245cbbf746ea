"""What a probe reads: a table of code vectors or explicit frames, behind one interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.probes.controls import permute_rows
from phonoscope.probes.frames import FrameVectors, SummedCodes, fit_probe_index, fit_ridge_frames
from phonoscope.probes.mlp import MlpProbe, fit_mlp, fit_mlp_index
from phonoscope.probes.solvers import Probe, class_weights, fit_probe, fit_ridge
from phonoscope.probes.tables import Array, ClassTable, ValueTable, count_pairs
from phonoscope.stats import discriminant_axes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.config.probes import ClassWeight, ProbeConfig
    from phonoscope.probes.examples import Examples

AnyProbe = Probe | MlpProbe


@dataclass(frozen=True)
class TableInput:
    """Frames whose vector is one of finitely many rows: the fast path. Methods are those of `FrameInput`."""

    codes: NDArray[np.integer]  # [n]
    codebook: NDArray[Any]  # [codes, dims]

    def table(self, examples: Examples) -> Any:
        """All that a linear probe can learn from the examples: a `ClassTable`, of values a `ValueTable`."""
        size, keep = len(self.codebook), examples.kept
        codes, targets = self.codes[keep], examples.targets[keep]
        if examples.classes:
            counts = count_pairs(codes, targets, (size, len(examples.classes)))
            return ClassTable(examples.classes, sum((part.counts for _, part in examples.counted), counts))
        return sum((part for _, part in examples.counted), ValueTable.from_frames(codes, targets, size))

    def fit_linear(self, train: Examples, config: ProbeConfig) -> Probe:
        if train.classes:
            return fit_probe(self.table(train), self.codebook, **config.classifier.model_dump())
        return fit_ridge(self.table(train), self.codebook, alpha=config.alpha)

    def fit_mlp(self, train: Examples, config: ProbeConfig, seed: int) -> MlpProbe:
        return fit_mlp(self.table(train), self.codebook, config, seed)

    def predict(self, probe: AnyProbe, keep: NDArray[np.bool_]) -> NDArray[Any]:
        # once for each code, however many frames there are
        return probe.predict(self.codebook)[self.codes[keep]]

    def discriminants(self, train: Examples, rank: int, class_weight: ClassWeight) -> TableInput:
        counts, rows = self.table(train).counts, self.codebook.astype(np.float64)
        seen = counts.sum(axis=0) > 0
        weights = counts[:, seen] * class_weights(counts.sum(axis=0)[seen], class_weight)
        mass = weights.sum(axis=1)
        mean = mass @ rows / mass.sum()
        scatter = ((rows - mean).T * mass) @ (rows - mean)
        by_class = weights.sum(axis=0)
        centres = weights.T @ rows / by_class[:, None] - mean
        return replace(self, codebook=(rows - mean) @ discriminant_axes(scatter, centres, by_class, rank))

    def permuted(self, train: Examples, seed: int) -> TableInput:
        """The same frames, the codebook's rows permuted over the codes that the train frames use."""
        return replace(self, codebook=permute_rows(self.codebook, self.table(train).frames > 0, seed))

    def means(self, utterances: NDArray[np.integer], count: int) -> Array:
        histograms = count_pairs(utterances, self.codes, (count, len(self.codebook)))
        return histograms @ self.codebook.astype(np.float64) / np.maximum(histograms.sum(axis=1), 1)[:, None]


@dataclass(frozen=True)
class FrameInput:
    """Frames with one vector each, read block by block."""

    vectors: FrameVectors

    def fit_linear(self, train: Examples, config: ProbeConfig) -> Probe:
        """The linear probe. Raises `DataError` if fewer than two classes have frames, or no value is there."""
        if not train.classes:
            return fit_ridge_frames(self.vectors, train.targets, alpha=config.alpha)
        return fit_probe_index(self.vectors, train.targets, train.classes, config.classifier, np.float32)

    def fit_mlp(self, train: Examples, config: ProbeConfig, seed: int) -> MlpProbe:
        """The probe with one hidden layer. Raises `DataError` if fewer than two classes have frames."""
        return fit_mlp_index(self.vectors, train.targets, train.classes, config, seed)

    def predict(self, probe: AnyProbe, keep: NDArray[np.bool_]) -> NDArray[Any]:
        """Indices into `probe.classes`, or for a regression the values, of the frames kept; `keep` is [n]."""
        return np.concatenate([probe.predict(block) for _, block in self.vectors.blocks(keep)])

    def discriminants(self, train: Examples, rank: int, class_weight: ClassWeight) -> FrameInput:
        """The same frames on the `rank` directions that best separate the classes of the train frames."""
        totals = train.totals()
        weights = np.zeros(len(totals))
        weights[totals > 0] = class_weights(totals[totals > 0], class_weight)
        return FrameInput(self.vectors.discriminants(train.targets, weights, rank))

    def means(self, utterances: NDArray[np.integer], count: int) -> Array:
        """The mean vector of each utterance [count, dims]; `utterances` [n] holds that of each frame."""
        return self.vectors.means(utterances, count)


Input = TableInput | FrameInput


@dataclass(frozen=True)
class CodecInputs:
    """Everything of a codec that can be probed. Rows are the labelled frames, in the order of the token table."""

    codes: NDArray[np.integer]  # [n, layers], an array or memory map
    codebooks: Sequence[NDArray[Any]]  # one [codes, dims] a layer
    latent: FrameVectors | None = None  # [n, dims]
    untrained_codes: NDArray[np.integer] | None = None  # [n, layers], of the same class with random weights
    untrained_codebooks: Sequence[NDArray[Any]] = ()

    def make(self, name: str, layer: int) -> Input | None:
        """An input by name; None if the codec lacks it, and for the sum of one layer, which is that layer."""
        if name == "latent":
            return None if self.latent is None else FrameInput(self.latent)
        if name == "cumulative":
            return FrameInput(SummedCodes(self.codes, self.codebooks[:layer])) if layer > 1 else None
        untrained = self.untrained_codes, self.untrained_codebooks
        codes, books = untrained if name == "untrained" else (self.codes, self.codebooks)
        if codes is None or layer > len(books):
            return None
        codebook = books[layer - 1]
        return TableInput(np.asarray(codes[:, layer - 1]), np.eye(len(codebook)) if name == "codes" else codebook)
