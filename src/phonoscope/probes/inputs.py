"""What a probe reads: a table of code vectors or explicit frames, behind one interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.probes import controls
from phonoscope.probes.frames import fit_probe_index, fit_ridge_frames
from phonoscope.probes.information import count_pairs
from phonoscope.probes.mlp import MlpProbe, fit_mlp, fit_mlp_index
from phonoscope.probes.solvers import Probe, fit_probe, fit_ridge
from phonoscope.probes.tables import ClassTable, ValueTable
from phonoscope.probes.vectors import FrameVectors, SummedCodes, principal_axes, utterance_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.config.probes import ClassifierConfig, ClassWeight, MlpConfig

Array = np.ndarray[Any, np.dtype[np.float64]]
AnyProbe = Probe | MlpProbe


class Input(ABC):
    """The vectors of n frames, and how probes are fitted to them.

    `labels` [n] index `classes`, negative for frames that are left out; `keep` is [n].
    """

    @abstractmethod
    def fit_linear(self, labels: NDArray[np.integer], classes: Sequence[str], config: ClassifierConfig) -> Probe:
        """The linear probe. Raises `DataError` if fewer than two classes have frames."""

    @abstractmethod
    def fit_mlp(
        self,
        labels: NDArray[np.integer],
        classes: Sequence[str],
        config: MlpConfig,
        class_weight: ClassWeight,
        seed: int,
    ) -> MlpProbe:
        """The probe with one hidden layer. Raises `DataError` if fewer than two classes have frames."""

    @abstractmethod
    def fit_values(self, values: NDArray[np.floating], alpha: float = 0.0) -> Probe:
        """Ridge regression of values [n], NaN for frames that are left out. Raises `DataError` if none is left."""

    @abstractmethod
    def predict(self, probe: AnyProbe, keep: NDArray[np.bool_]) -> NDArray[Any]:
        """Indices into `probe.classes`, or for a regression the values, of the frames kept."""

    @abstractmethod
    def reduced(self, keep: NDArray[np.bool_], dims: int) -> Input:
        """The same frames on the first principal components of those kept; at most `dims`."""

    @abstractmethod
    def means(self, utterances: NDArray[np.integer], count: int) -> Array:
        """The mean vector of each utterance [count, dims]; `utterances` [n] holds that of each frame."""


@dataclass(frozen=True)
class TableInput(Input):
    """Frames whose vector is one of finitely many rows: the fast path."""

    codes: NDArray[np.integer]
    """[n]"""
    codebook: NDArray[Any]
    """[codes, dims]"""

    def table(self, labels: NDArray[np.integer], classes: Sequence[str]) -> ClassTable:
        """Frames by code and class."""
        keep = labels >= 0
        return ClassTable(
            tuple(classes), count_pairs(self.codes[keep], labels[keep], (len(self.codebook), len(classes)))
        )

    def value_table(self, values: NDArray[np.floating]) -> ValueTable:
        """Count, sum and sum of squares of the values by code."""
        keep = np.isfinite(values)
        return ValueTable.from_frames(self.codes[keep], values[keep], len(self.codebook))

    def targets_table(self, targets: NDArray[Any], classes: Sequence[str]) -> ClassTable | ValueTable:
        """The table of a classification, or without classes of a regression."""
        return self.table(targets, classes) if classes else self.value_table(targets)

    def permuted(self, keep: NDArray[np.bool_], seed: int) -> TableInput:
        """The same frames on a codebook whose rows are permuted over the codes that the frames kept use."""
        used = np.bincount(self.codes[keep], minlength=len(self.codebook)) > 0
        return replace(self, codebook=controls.permute_rows(self.codebook, used, seed))

    def fit_linear(self, labels: NDArray[np.integer], classes: Sequence[str], config: ClassifierConfig) -> Probe:
        return fit_probe(self.table(labels, classes), self.codebook, **config.model_dump())

    def fit_mlp(
        self,
        labels: NDArray[np.integer],
        classes: Sequence[str],
        config: MlpConfig,
        class_weight: ClassWeight,
        seed: int,
    ) -> MlpProbe:
        table = self.table(labels, classes)
        return fit_mlp(table, self.codebook, config, class_weight=class_weight, seed=seed)

    def fit_values(self, values: NDArray[np.floating], alpha: float = 0.0) -> Probe:
        return fit_ridge(self.value_table(values), self.codebook, alpha=alpha)

    def predict(self, probe: AnyProbe, keep: NDArray[np.bool_]) -> NDArray[Any]:
        return probe.predict(self.codebook)[self.codes[keep]]

    def reduced(self, keep: NDArray[np.bool_], dims: int) -> TableInput:
        frames = np.bincount(self.codes[keep], minlength=len(self.codebook))
        return replace(self, codebook=controls.reduce_rows(self.codebook, frames, dims))

    def means(self, utterances: NDArray[np.integer], count: int) -> Array:
        histograms = count_pairs(utterances, self.codes, (count, len(self.codebook)))
        return histograms @ self.codebook.astype(np.float64) / np.maximum(histograms.sum(axis=1), 1)[:, None]


@dataclass(frozen=True)
class FrameInput(Input):
    """Frames with one vector each, read block by block."""

    vectors: FrameVectors

    def fit_linear(self, labels: NDArray[np.integer], classes: Sequence[str], config: ClassifierConfig) -> Probe:
        # single precision: half the time, and enough for a tolerance of 1e-4
        return fit_probe_index(self.vectors, labels, classes, precision=np.float32, **config.model_dump())

    def fit_mlp(
        self,
        labels: NDArray[np.integer],
        classes: Sequence[str],
        config: MlpConfig,
        class_weight: ClassWeight,
        seed: int,
    ) -> MlpProbe:
        return fit_mlp_index(self.vectors, labels, classes, config, class_weight=class_weight, seed=seed)

    def fit_values(self, values: NDArray[np.floating], alpha: float = 0.0) -> Probe:
        return fit_ridge_frames(self.vectors, values, alpha=alpha)

    def predict(self, probe: AnyProbe, keep: NDArray[np.bool_]) -> NDArray[Any]:
        return np.concatenate([probe.predict(block) for _, block in self.vectors.blocks(keep)])

    def reduced(self, keep: NDArray[np.bool_], dims: int) -> FrameInput:
        return FrameInput(principal_axes(self.vectors, keep, dims))

    def means(self, utterances: NDArray[np.integer], count: int) -> Array:
        return utterance_means(self.vectors, utterances, count)


@dataclass(frozen=True)
class CodecInputs:
    """Everything of a codec that can be probed. Rows are the frames of the token table, in its order."""

    codes: NDArray[np.integer]
    """[n, layers], an array or memory map."""
    codebooks: Sequence[NDArray[Any]]
    """One [codes, dims] a layer."""
    latent: FrameVectors | None = None
    """[n, dims]"""
    untrained_codes: NDArray[np.integer] | None = None
    """[n, layers]: the codes of the same class with random weights."""
    untrained_codebooks: Sequence[NDArray[Any]] = ()

    def make(self, name: str, layer: int) -> Input | None:
        """An input by name; None if the codec lacks it, and for the sum of one layer, which is that layer."""
        if name == "latent":
            return None if self.latent is None else FrameInput(self.latent)
        if name == "untrained":
            if self.untrained_codes is None or layer > len(self.untrained_codebooks):
                return None
            return TableInput(np.asarray(self.untrained_codes[:, layer - 1]), self.untrained_codebooks[layer - 1])
        codebook = self.codebooks[layer - 1]
        if name == "cumulative":
            return FrameInput(SummedCodes(self.codes, self.codebooks[:layer])) if layer > 1 else None
        return TableInput(np.asarray(self.codes[:, layer - 1]), np.eye(len(codebook)) if name == "codes" else codebook)
