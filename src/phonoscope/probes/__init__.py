"""Probes: what can be read off a codec's codes, vectors and latents, and what that is worth.

Layer by layer, from contingency tables (stage `probe`):
    `probe_codec` -> `ProbeResult`; below it `ClassTable`, `ValueTable`, `fit_probe`, `fit_ridge`, the controls
    `permute_rows`, `reduce_rows`, `lookup_classes`, `lookup_values`, and `paired_difference`, `paired_ratio`.

In depth (stage `depth`):
    `read_frames(tokens, manifest, TASKS, folder, layers=..., size=...)` -> `TokenFrames`: a token table with the labels
    of every task; `probe_depth(frames, Vectors(codebooks), manifest, split, DepthConfig(), codec=...)` -> `DepthResult`
    with the tables `scores`, `classes` and `confusion`. `manifest` is a mapping of columns (utterance, speaker, sex,
    accent, word, text), `split` has train, eval and speaker_folds.
    `TASKS`, `LabelTask`, `PhoneLabels`, `UtteranceLabels`, `register`: the tasks, and how one is added.
    `mutual_information`, `online_costs`, `control_labels`, `permute_labels`: the measures by themselves.
    `Input`, `TableInput`, `FrameInput`: one interface for tables and frames; `FrameVectors`, `ArrayVectors`,
    `SummedCodes`: vectors that need not fit into memory; `fit_probe_frames`, `fit_ridge_frames`, `fit_mlp`.
    `phone_group`, `GROUPS`: manner of articulation.
"""

from __future__ import annotations

from phonoscope.config.probes import BootstrapConfig, DepthConfig, MlpConfig, ProbeConfig
from phonoscope.data.phones import GROUPS, phone_group
from phonoscope.probes.controls import (
    control_labels,
    lookup_classes,
    lookup_values,
    permute_rows,
    reduce_rows,
    smoothed_lookup_classes,
)
from phonoscope.probes.depth import DepthResult, Vectors, make_input, probe_depth, sample_utterances
from phonoscope.probes.description import assign_blocks, linear_log2, online_costs
from phonoscope.probes.examples import Examples
from phonoscope.probes.frames import fit_probe_frames, fit_ridge_frames
from phonoscope.probes.information import Information, mutual_information, permute_labels
from phonoscope.probes.inputs import FrameInput, Input, TableInput
from phonoscope.probes.labels import TASKS, LabelTask, PhoneLabels, UtteranceLabels, register
from phonoscope.probes.mlp import MlpProbe, fit_mlp
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
from phonoscope.probes.token_frames import TokenFrames, read_frames
from phonoscope.probes.vectors import ArrayVectors, FrameVectors, SummedCodes

__all__ = [
    "GROUPS",
    "TASKS",
    "ArrayVectors",
    "BootstrapConfig",
    "ClassStatistics",
    "ClassTable",
    "DepthConfig",
    "DepthResult",
    "Examples",
    "FrameInput",
    "FrameVectors",
    "Information",
    "Input",
    "Interval",
    "LabelTask",
    "MlpConfig",
    "MlpProbe",
    "PhoneLabels",
    "Probe",
    "ProbeConfig",
    "ProbeResult",
    "SummedCodes",
    "TableInput",
    "TaskResult",
    "TokenFrames",
    "UtteranceLabels",
    "ValueStatistics",
    "ValueTable",
    "Vectors",
    "assign_blocks",
    "control_labels",
    "fit_mlp",
    "fit_probe",
    "fit_probe_frames",
    "fit_ridge",
    "fit_ridge_frames",
    "linear_log2",
    "lookup_classes",
    "lookup_values",
    "make_input",
    "mutual_information",
    "online_costs",
    "paired_difference",
    "paired_ratio",
    "permute_labels",
    "permute_rows",
    "phone_group",
    "probe_codec",
    "probe_depth",
    "read_frames",
    "reduce_rows",
    "register",
    "sample_utterances",
    "smoothed_lookup_classes",
]
