"""The probes of one task as named tensors and JSON-able metadata, and back. No pickle.

Tensors: `layer_<l>.weight`, `.bias`, `.mean`, `.scale` (the probe), `layer_<l>.table.*` (the train table), and the
eval statistics by utterance, `eval.*` where they are the same for all layers and `layer_<l>.eval.*` where not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from phonoscope.probes.scores import ClassStatistics, Statistics, ValueStatistics
from phonoscope.probes.solvers import Probe
from phonoscope.probes.tables import ClassTable, ValueTable

if TYPE_CHECKING:
    import torch

ARRAYS = ("weight", "bias", "mean", "scale")
FACTS = ("objective", "converged", "iterations")
SHARED = {"true", "count", "total", "squares"}  # facts about the labels, not about a layer's predictions


@dataclass(frozen=True)
class TaskResult:
    """One task on one codec, layer by layer."""

    layers: tuple[int, ...]
    tables: Sequence[ClassTable | ValueTable]
    """Train tables."""
    probes: Sequence[Probe]
    statistics: Sequence[Statistics]
    """The probe's eval statistics: rows are `utterances`, columns the tables' classes."""
    utterances: tuple[str, ...]
    unseen: dict[str, int]
    """Eval frames of each class that training lacks. They count as errors."""

    def to_tensors(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Named tensors and metadata, the content of one safetensors file."""
        import torch

        arrays: dict[str, Any] = {}
        for layer, probe, table, statistics in zip(self.layers, self.probes, self.tables, self.statistics, strict=True):
            arrays |= {f"layer_{layer}.{name}": getattr(probe, name) for name in ARRAYS}
            arrays |= {
                f"layer_{layer}.table.{f.name}": getattr(table, f.name) for f in fields(table) if f.name != "classes"
            }
            arrays |= {_eval_key(f.name, layer): getattr(statistics, f.name) for f in fields(statistics)}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}, self._metadata()

    def _metadata(self) -> dict[str, Any]:
        table = self.tables[0]
        return {
            "layers": list(self.layers),
            "classes": list(self.probes[0].classes),
            "columns": list(table.classes) if isinstance(table, ClassTable) else [],
            "utterances": list(self.utterances),
            "unseen": self.unseen,
            "fits": [{name: getattr(probe, name) for name in FACTS} for probe in self.probes],
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> TaskResult:
        """Undo `to_tensors`."""
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        layers, columns = tuple(metadata["layers"]), tuple(metadata["columns"])
        classes = tuple(metadata["classes"])

        def probe(layer: int) -> Probe:
            parts: dict[str, Any] = {name: arrays[f"layer_{layer}.{name}"] for name in ARRAYS}
            return Probe(**parts, classes=classes, **metadata["fits"][layers.index(layer)])

        def table(layer: int) -> Any:
            kind = ClassTable if columns else ValueTable
            names = [f.name for f in fields(kind) if f.name != "classes"]
            parts = {name: arrays[f"layer_{layer}.table.{name}"] for name in names}
            return ClassTable(columns, **parts) if columns else ValueTable(**parts)

        def statistics(layer: int) -> Statistics:
            kind = ClassStatistics if columns else ValueStatistics
            return kind(**{f.name: arrays[_eval_key(f.name, layer)] for f in fields(kind)})

        return cls(
            layers,
            [table(layer) for layer in layers],
            [probe(layer) for layer in layers],
            [statistics(layer) for layer in layers],
            tuple(metadata["utterances"]),
            dict(metadata["unseen"]),
        )


def _eval_key(name: str, layer: int) -> str:
    return f"eval.{name}" if name in SHARED else f"layer_{layer}.eval.{name}"
