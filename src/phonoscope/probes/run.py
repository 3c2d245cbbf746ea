"""Probe every RVQ layer of one codec: count, fit, score."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from phonoscope.compute import derive_seed, parallel_map
from phonoscope.errors import DataError
from phonoscope.probes.controls import reduce_rows
from phonoscope.probes.scores import draw_resamples, interval
from phonoscope.probes.store import TaskResult
from phonoscope.probes.stream import Frames, stream_frames
from phonoscope.probes.tables import ClassTable
from phonoscope.probes.tasks import METRICS, Fit, PhoneTask, PitchTask, SpeakerTask, Task

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from phonoscope.config.probes import ProbeConfig

logger = logging.getLogger(__name__)

COLUMNS = (
    *("codec", "layer", "task", "metric", "value", "ci_low", "ci_high"),
    *("permuted", "lookup", "majority", "converged"),
)
FULL, MATCHED = "", "_matched"  # suffixes of the metrics: rows as they are, rows reduced by PCA

AnyTask = Task[Any, Any]
Sides = tuple[list[Any], list[Any]]
"""Train and eval tables, one a layer."""


class _Job(NamedTuple):
    task: str
    layer: int
    variant: str


@dataclass(frozen=True)
class ProbeResult:
    """What `probe_codec` returns."""

    rows: pd.DataFrame
    """Tidy scores with the columns `COLUMNS`, one row a (layer, task, metric)."""
    tasks: dict[str, TaskResult]
    """By task, in the order phone, speaker, pitch."""


def probe_codec(
    tokens: Path,
    codebooks: Sequence[NDArray[Any]],
    train: Sequence[str],
    evaluation: Sequence[str],
    speakers: Mapping[str, str],
    config: ProbeConfig,
    *,
    codec: str,
    workers: int = 1,
) -> ProbeResult:
    """Fit and score the probes of every layer and task.

    `codebooks` holds one [codes, dims] array a layer, `train` and `evaluation` utterance ids, `speakers` the speaker
    of each. A task that a side cannot pose (one speaker, no voiced frame) is left out with a warning. The result does
    not depend on `workers`. Raises `DataError` if no task is left or the inputs do not fit together.
    """
    size = _codebook_size(codebooks)
    utterances = [*train, *evaluation]
    tasks = _tasks(config, utterances, speakers)
    stream = partial(stream_frames, tokens, utterances, layers=len(codebooks), size=size)
    # sums depend in their last bits on the number of BLAS threads, which differs between one worker and several
    with threadpool_limits(1):
        sides = _posable(tasks, _count(stream(), tasks, len(train), size))
        fits = _fit_all(tasks, sides, codebooks, config, workers, codec)
        statistics = _score(stream(), tasks, sides, fits, range(len(train), len(utterances)))
        rows = _rows(fits, statistics, config, codec, len(evaluation))
    results = {name: _task_result(name, sides[name], fits, statistics, evaluation) for name in sides}
    return ProbeResult(rows, results)


def _codebook_size(codebooks: Sequence[NDArray[Any]]) -> int:
    sizes = {len(codebook) for codebook in codebooks}
    if len(sizes) != 1:
        raise DataError(f"the layers' codebooks must have one size; there are {sorted(sizes)}")
    return sizes.pop()


def _tasks(config: ProbeConfig, utterances: Sequence[str], speakers: Mapping[str, str]) -> dict[str, AnyTask]:
    unknown = [utterance for utterance in utterances if utterance not in speakers]
    if unknown:
        raise DataError(f"utterance {unknown[0]!r} of the split is not in the manifest; run `dvc repro split`")
    names = [speakers[utterance] for utterance in utterances]
    tasks: list[AnyTask] = [
        PhoneTask(config.phone, config.tolerance, silence=config.phone.silence),
        SpeakerTask(config.speaker, config.tolerance, speakers=names),
        PitchTask(config.pitch),
    ]
    return {task.name: task for task in tasks}


def _count(stream: Iterator[Frames], tasks: Mapping[str, AnyTask], train_size: int, size: int) -> dict[str, Sides]:
    """Sum the tables of all batches. The two lists of a task are empty for a side without a frame of it."""
    sides: dict[str, Sides] = {name: ([], []) for name in tasks}
    for frames in stream:
        training = frames.utterances < train_size
        parts = frames.select(training), frames.select(~training)
        for name, task in tasks.items():
            for total, part in zip(sides[name], parts, strict=True):
                tables = task.count(part, size) or []
                total[:] = [a + b for a, b in zip(total, tables, strict=True)] if total and tables else total or tables
    return sides


def _posable(tasks: Mapping[str, AnyTask], counted: Mapping[str, Sides]) -> dict[str, Sides]:
    kept = {}
    for name, (train, evaluation) in counted.items():
        if not (train and evaluation and train[0].trainable):
            logger.warning("%s: left out; it needs frames on both sides and at least two classes in train", name)
            continue
        united = [tasks[name].unite(*layer) for layer in zip(train, evaluation, strict=True)]
        kept[name] = [pair[0] for pair in united], [pair[1] for pair in united]
    if not kept:
        raise DataError("no task can be posed: the split's utterances have no labelled frames in the token table")
    return kept


def _fit_all(
    tasks: Mapping[str, AnyTask],
    sides: Mapping[str, Sides],
    codebooks: Sequence[NDArray[Any]],
    config: ProbeConfig,
    workers: int,
    codec: str,
) -> dict[_Job, Fit]:
    jobs = [
        _Job(name, layer, variant) for name in sides for layer in range(len(codebooks)) for variant in (FULL, MATCHED)
    ]
    work = [(job, tasks[job.task], sides[job.task][0][job.layer], codebooks[job.layer]) for job in jobs]
    fits = parallel_map(partial(_fit, config=config), work, workers=workers, description=f"probe {codec}")
    for job, fit in zip(jobs, fits, strict=True):
        if not fit.converged:
            logger.warning("%s layer %d%s: not converged; raise probe.*.max_iter", job.task, job.layer + 1, job.variant)
    return dict(zip(jobs, fits, strict=True))


def _fit(work: tuple[_Job, AnyTask, Any, NDArray[Any]], config: ProbeConfig) -> Fit:
    job, task, table, codebook = work
    with threadpool_limits(1):
        rows = codebook if job.variant == FULL else reduce_rows(codebook, table.frames, config.matched_dims)
        seed = derive_seed(config.seed, job.task, job.layer)
        return task.fit_with_controls(table, rows, config.permutations, seed)


def _score(
    stream: Iterator[Frames],
    tasks: Mapping[str, AnyTask],
    sides: Mapping[str, Sides],
    fits: Mapping[_Job, Fit],
    evaluation: range,
) -> dict[_Job, dict[str, Any]]:
    """Sum, over a second pass, the statistics of every prediction on the eval frames."""
    totals: dict[_Job, dict[str, Any]] = {}
    for batch in stream:
        frames = batch.select(batch.utterances >= evaluation.start)
        for job, fit in fits.items():
            table = sides[job.task][0][job.layer]
            part = tasks[job.task].score(frames, job.layer, fit.predictions, evaluation, table)
            total = totals.get(job)
            totals[job] = {name: total[name] + part[name] for name in part} if total else part
    return totals


def _rows(
    fits: Mapping[_Job, Fit],
    statistics: Mapping[_Job, Mapping[str, Any]],
    config: ProbeConfig,
    codec: str,
    utterances: int,
) -> pd.DataFrame:
    import pandas as pd

    bootstrap = config.bootstrap
    resamples = draw_resamples(utterances, bootstrap.samples, derive_seed(config.seed, "bootstrap"))
    rows = []
    for job, fit in fits.items():
        scores = {name: part.scores() for name, part in statistics[job].items()}
        draws = statistics[job]["probe"].scores(resamples)
        for metric in METRICS[job.task]:
            value, low, high = interval(float(scores["probe"][metric][0]), draws[metric], bootstrap.confidence)
            permuted = [part[metric][0] for name, part in scores.items() if name.startswith("permuted_")]
            controls = np.mean(permuted), scores[f"lookup_{metric}"][metric][0], scores["majority"][metric][0]
            head = codec, job.layer + 1, job.task, metric + job.variant
            rows.append((*head, value, low, high, *map(float, controls), str(fit.converged).lower()))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _task_result(
    name: str,
    sides: Sides,
    fits: Mapping[_Job, Fit],
    statistics: Mapping[_Job, Mapping[str, Any]],
    evaluation: Sequence[str],
) -> TaskResult:
    train, held_out = sides
    jobs = [_Job(name, layer, FULL) for layer in range(len(train))]
    unseen = _unseen(train[0], held_out[0])
    if unseen:
        logger.warning("%s: eval has classes that train lacks; their frames count as errors: %s", name, unseen)
    probes = [fits[job].probe for job in jobs]
    return TaskResult(train, probes, [statistics[job]["probe"] for job in jobs], tuple(evaluation), unseen)


def _unseen(train: Any, evaluation: Any) -> dict[str, int]:
    if not isinstance(train, ClassTable):
        return {}
    frames = zip(train.classes, train.counts.sum(axis=0), evaluation.counts.sum(axis=0), strict=True)
    return {name: int(held_out) for name, seen, held_out in frames if held_out and not seen}
