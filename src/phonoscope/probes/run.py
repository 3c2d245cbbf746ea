"""The one pipeline of all probes: pose tasks, list jobs, measure, and write everything into one tidy table."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from phonoscope.compute import derive_seed, limit_threads, parallel_map
from phonoscope.config.probes import ProbeConfig
from phonoscope.data import Labels, Manifest, Split, Tokens
from phonoscope.errors import NotApplicable
from phonoscope.probes.examples import Scores
from phonoscope.probes.inputs import CodecInputs, Input, TableInput
from phonoscope.probes.measures import Measure, Probing, description_measures, information_measures
from phonoscope.probes.pose import Posed, group_utterances, pose, sample_utterances
from phonoscope.probes.reading import read_frames
from phonoscope.probes.schema import CLASS_COLUMNS, COLUMNS, CONFUSION_COLUMNS
from phonoscope.probes.solvers import Probe
from phonoscope.probes.store import TaskResult
from phonoscope.probes.tasks import Task, configured_tasks

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)
Row = tuple[Any, ...]


@dataclass(frozen=True)
class ProbeResult:
    """Tidy tables with the columns `COLUMNS`, `CLASS_COLUMNS` and `CONFUSION_COLUMNS`, and the probes of the layers."""

    table: pd.DataFrame
    classes: pd.DataFrame  # precision, recall and F1 of the linear probe by class
    confusion: pd.DataFrame  # eval frames by class and the linear probe's prediction, without the pairs that lack any
    tasks: dict[str, TaskResult]  # the linear probes of the layers, for tasks with one fold


class _Job(NamedTuple):
    posed: Posed
    input: str
    layer: int
    source: Input
    probed: bool
    informed: bool

    @property
    def head(self) -> tuple[str, str, str, int]:
        return self.posed.task.name, self.posed.split, self.input, self.layer


Done = tuple[list[Measure], Scores | None]  # the measures of a job, and the scores of its linear probe


def probe_tokens(
    tokens: Tokens,
    codebooks: Sequence[NDArray[Any]],
    labels: Labels,
    manifest: Manifest,
    split: Split,
    config: ProbeConfig,
    *,
    codec: str,
    workers: int = 1,
) -> ProbeResult:
    """Every measure that a token table and its codebooks, one [codes, dims] a layer, allow.

    Where counts by code and class are enough, the table is streamed, and only frames that are scored are kept.
    Raises `NotApplicable` if no task can be posed, and `ParamsError` for an unknown task.
    """
    tasks = configured_tasks(config)
    groups = group_utterances(tasks, manifest, split, config) if _counts_suffice(config) else None
    frames = read_frames(tokens, labels, manifest, tasks, groups)
    posed, inputs = pose(frames, manifest, split, config), CodecInputs(frames.codes, codebooks)
    sample = sample_utterances(manifest, split, config)
    return run_probes(posed, inputs, config, codec=codec, sample=sample, workers=workers)


def _counts_suffice(config: ProbeConfig) -> bool:
    """Whether no train frame need be known: nulls permute frames, code lengths and means are by utterance."""
    by_frame = config.information or config.measures or config.label_null or "pooled" in config.probes
    return not by_frame and set(config.inputs) <= {"layer", "codes"}


def run_probes(
    posed: Sequence[Posed],
    inputs: CodecInputs,
    config: ProbeConfig,
    *,
    codec: str,
    sample: NDArray[np.bool_] | None = None,
    workers: int = 1,
) -> ProbeResult:
    """Every measure of every task, input and layer.

    Measures are taken on the utterances where `sample` [utterances] is true. The result does not depend on `workers`.
    Raises `NotApplicable` if no task is posed.
    """
    jobs = list(_jobs(posed, inputs, config))
    if not jobs:
        raise NotApplicable("no task can be posed: the token table has no labelled frames on both sides of a split")
    measure = partial(_measure, sample=sample, config=config)
    done = parallel_map(measure, jobs, workers=workers, description=f"probe {codec}")
    for job, result in zip(jobs, done, strict=True):
        if not all(measure.converged for measure in result[0]):
            logger.warning("%s %s, %s %d: a fit has not converged; it needs more iterations", *job.head)
    return _result(codec, jobs, done)


def _jobs(posed: Sequence[Posed], inputs: CodecInputs, config: ProbeConfig) -> Iterator[_Job]:
    """Probes at the chosen layers; mutual information at every layer, once a task."""
    every = range(1, len(inputs.codebooks) + 1)
    chosen = [layer for layer in every if not config.layers or layer in config.layers]
    for one in posed:
        for name in config.inputs:
            for layer in every if name == "layer" else [0] if name == "latent" else chosen:
                probed = one.probed and (name == "latent" or layer in chosen)
                informed = one.informed and name in ("layer", "untrained")
                source = inputs.make(name, layer) if probed or informed else None
                if source is not None:
                    yield _Job(one.at(layer), name, layer, source, probed, informed)


def _measure(job: _Job, sample: NDArray[np.bool_] | None, config: ProbeConfig) -> Done:
    task, examples = job.posed.task, job.posed.examples
    seed = derive_seed(config.seed, task.name, job.posed.split, job.layer)
    if sample is not None:
        examples = examples.restricted(sample)
    measures: list[Measure] = []
    linear = None
    with limit_threads():  # one worker has other BLAS threads than several
        if job.informed and isinstance(job.source, TableInput):
            measures += information_measures(examples, job.source, config, seed)
        if job.probed:
            control_seed = derive_seed(config.seed, task.name, job.layer - 1)
            probing = Probing(examples, job.source, config, seed, control_seed)
            for name in ("linear",) if job.input == "untrained" else config.probes:
                if name != "pooled" or task.of_utterance:
                    measures += probing.measures(name)
            linear = probing.linear
            described = "mdl" in config.measures and not task.values and job.posed.split == "utterances"
            if described and isinstance(job.source, TableInput):
                measures += description_measures(examples, job.source, config, seed)
    return measures, linear


def _result(codec: str, jobs: Sequence[_Job], done: Sequence[Done]) -> ProbeResult:
    import pandas as pd

    rows: list[Row] = []
    classes: list[Row] = []
    pairs: list[Row] = []
    layers: dict[str, dict[int, tuple[_Job, Scores]]] = {}
    for job, (measures, linear) in zip(jobs, done, strict=True):
        head, task, examples = (codec, *job.head), job.posed.task, job.posed.examples
        rows += [(*head, *measure[:-1], str(measure.converged).lower()) for measure in measures]
        if linear:
            names, counts = examples.classes, linear.confusion
            classes += [(*head, *row) for row in _class_rows(task, names, counts)]
            pairs += [(*head, names[i], names[j], int(counts[i, j])) for i, j in np.argwhere(counts)]
            # tasks with several folds have no one probe to save
            if job.input == "layer" and len(examples.folds) == 1:
                layers.setdefault(task.name, {})[job.layer] = job, linear
    return ProbeResult(
        pd.DataFrame(rows, columns=list(COLUMNS)),
        pd.DataFrame(classes, columns=list(CLASS_COLUMNS)),
        pd.DataFrame(pairs, columns=list(CONFUSION_COLUMNS)),
        {name: _task_result(list(parts.values())) for name, parts in layers.items()},
    )


def _class_rows(task: Task, names: Sequence[str], confusion: NDArray[np.int64]) -> Iterator[Row]:
    """Scores by class in the task's order; `zero_division=0`."""
    true, predicted, hits = confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal()
    for i in sorted(range(len(names)), key=lambda i: task.order(names[i])):
        scores = hits[i] / max(predicted[i], 1), hits[i] / max(true[i], 1), 2 * hits[i] / max(true[i] + predicted[i], 1)
        yield (names[i], task.group(names[i]), int(true[i]), *map(float, scores))


def _task_result(parts: Sequence[tuple[_Job, Scores]]) -> TaskResult:
    jobs, scores = zip(*parts, strict=True)
    posed, unseen = jobs[0].posed, {}
    fold, classes = posed.examples.folds[0], posed.examples.classes
    if classes:
        counts = zip(classes, *(posed.examples.restricted(side).totals() for side in fold), strict=True)
        unseen = {name: int(frames) for name, seen, frames in counts if frames and not seen}
    if unseen:
        message = "%s: eval has classes that train lacks; their frames count as errors: %s"
        logger.warning(message, posed.task.name, unseen)
    return TaskResult(
        tuple(job.layer for job in jobs),
        # an input `layer` is a table, and the linear probe is a `Probe`
        [cast("TableInput", job.source).table(job.posed.examples.restricted(fold.train)) for job in jobs],
        [cast("Probe", each.probe) for each in scores],
        [each.statistics for each in scores],
        posed.units,
        unseen,
    )
