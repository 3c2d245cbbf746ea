"""The probes of one task as named tensors and JSON-able metadata, and back. No pickle.

Tensors: `layer_<l>.weight`, `.bias`, `.mean`, `.scale` (the probe), `layer_<l>.table.*` (the train table), and the
eval statistics by utterance, `eval.*` where they are the same for all layers and `layer_<l>.eval.*` where not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING, Any

from phonoscope.probes.scores import ClassStatistics, Statistics, ValueStatistics
from phonoscope.probes.solvers import Probe
from phonoscope.probes.tables import ClassTable, Table, ValueTable

if TYPE_CHECKING:
    import torch

ARRAYS = ("weight", "bias", "mean", "scale")
FACTS = ("objective", "converged", "iterations")
SHARED = {"true", "count", "total", "squares"}  # facts about the labels, not about a layer's predictions


@dataclass(frozen=True)
class TaskResult:
    """One task on one codec, layer by layer."""

    layers: tuple[int, ...]
    tables: Sequence[Table]  # of the train frames
    probes: Sequence[Probe]
    statistics: Sequence[Statistics]  # of the eval frames: rows are `utterances`, columns the tables' classes
    utterances: tuple[str, ...]
    unseen: dict[str, int]  # eval frames of each class that training lacks; they count as errors

    def to_tensors(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Named tensors and metadata, the content of one safetensors file."""
        import torch

        arrays: dict[str, Any] = {}
        for layer, probe, table, statistics in zip(self.layers, self.probes, self.tables, self.statistics, strict=True):
            arrays |= {f"layer_{layer}.{name}": getattr(probe, name) for name in ARRAYS}
            arrays |= {f"layer_{layer}.table.{name}": getattr(table, name) for name in _arrays(table)}
            arrays |= {_eval_key(name, layer): getattr(statistics, name) for name in _arrays(statistics)}
        metadata = {
            "layers": list(self.layers),
            "classes": list(self.probes[0].classes),
            "columns": list(getattr(self.tables[0], "classes", ())),
            "utterances": list(self.utterances),
            "unseen": self.unseen,
            "fits": [{name: getattr(probe, name) for name in FACTS} for probe in self.probes],
        }
        return {name: torch.from_numpy(array) for name, array in arrays.items()}, metadata

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> TaskResult:
        """Undo `to_tensors`."""
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
        layers, columns, classes = (tuple(metadata[name]) for name in ("layers", "columns", "classes"))
        kind = ClassStatistics if columns else ValueStatistics
        table: Any = partial(ClassTable, columns) if columns else ValueTable
        names = _arrays(ClassTable if columns else ValueTable)
        tables = [table(**{name: arrays[f"layer_{layer}.table.{name}"] for name in names}) for layer in layers]
        probes = [
            Probe(**{name: arrays[f"layer_{layer}.{name}"] for name in ARRAYS}, classes=classes, **facts)
            for layer, facts in zip(layers, metadata["fits"], strict=True)
        ]
        statistics = [kind(**{name: arrays[_eval_key(name, layer)] for name in _arrays(kind)}) for layer in layers]
        return cls(layers, tables, probes, statistics, tuple(metadata["utterances"]), dict(metadata["unseen"]))


def _arrays(kind: Any) -> list[str]:
    return [field.name for field in fields(kind) if field.name != "classes"]


def _eval_key(name: str, layer: int) -> str:
    return f"eval.{name}" if name in SHARED else f"layer_{layer}.eval.{name}"
