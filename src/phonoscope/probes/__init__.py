"""Linear probes of RVQ layers from contingency tables."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phonoscope.probes.config import BootstrapConfig, ProbeConfig
    from phonoscope.probes.controls import (
        lookup_classes,
        lookup_values,
        permute_rows,
        reduce_rows,
        smoothed_lookup_classes,
    )
    from phonoscope.probes.frames import fit_probe_frames, fit_ridge_frames
    from phonoscope.probes.model import Probe
    from phonoscope.probes.run import ProbeResult, probe_codec
    from phonoscope.probes.scores import (
        ClassStatistics,
        Interval,
        ValueStatistics,
        paired_difference,
        paired_ratio,
    )
    from phonoscope.probes.solvers import fit_probe, fit_ridge
    from phonoscope.probes.store import TaskResult
    from phonoscope.probes.tables import ClassTable, ValueTable

_MODULES = {
    "config": ("BootstrapConfig", "ProbeConfig"),
    "controls": ("lookup_classes", "lookup_values", "permute_rows", "reduce_rows", "smoothed_lookup_classes"),
    "frames": ("fit_probe_frames", "fit_ridge_frames"),
    "model": ("Probe",),
    "run": ("ProbeResult", "probe_codec"),
    "scores": ("ClassStatistics", "Interval", "ValueStatistics", "paired_difference", "paired_ratio"),
    "solvers": ("fit_probe", "fit_ridge"),
    "store": ("TaskResult",),
    "tables": ("ClassTable", "ValueTable"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "BootstrapConfig",
    "ClassStatistics",
    "ClassTable",
    "Interval",
    "Probe",
    "ProbeConfig",
    "ProbeResult",
    "TaskResult",
    "ValueStatistics",
    "ValueTable",
    "fit_probe",
    "fit_probe_frames",
    "fit_ridge",
    "fit_ridge_frames",
    "lookup_classes",
    "lookup_values",
    "paired_difference",
    "paired_ratio",
    "permute_rows",
    "probe_codec",
    "reduce_rows",
    "smoothed_lookup_classes",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that reading the parameters costs no import of SciPy or pandas."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"phonoscope.probes.{_HOME[name]}"), name)
