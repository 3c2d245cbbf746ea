"""Probes: what can be read off a codec's codes, vectors and latents, and what that is worth.

`probe(codes, codebooks, labels, utterances=...)` gives the whole table from arrays (`phonoscope.probes.schema`).
Below it: `read_frames` and `pose` make examples of `TASKS` from a token table, `run_probes` measures them on
`CodecInputs`, `fit_probe` and `fit_ridge` fit a `ClassTable` or `ValueTable`, `paired_difference` compares two results.
"""

from __future__ import annotations

from phonoscope.config.probes import DepthConfig, ProbeConfig
from phonoscope.probes.arrays import probe
from phonoscope.probes.inputs import CodecInputs
from phonoscope.probes.pose import pose
from phonoscope.probes.reading import LabelledFrames, read_frames
from phonoscope.probes.run import ProbeResult, probe_tokens, run_probes
from phonoscope.probes.scores import paired_difference
from phonoscope.probes.solvers import Probe, fit_probe, fit_ridge
from phonoscope.probes.tables import ClassTable, ValueTable
from phonoscope.probes.tasks import TASKS, Task, register

__all__ = [
    "TASKS",
    "ClassTable",
    "CodecInputs",
    "DepthConfig",
    "LabelledFrames",
    "Probe",
    "ProbeConfig",
    "ProbeResult",
    "Task",
    "ValueTable",
    "fit_probe",
    "fit_ridge",
    "paired_difference",
    "pose",
    "probe",
    "probe_tokens",
    "read_frames",
    "register",
    "run_probes",
]
