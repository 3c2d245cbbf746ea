"""Probe one codec in depth: sums of layers, latents and an untrained codec beside its layers, under every control."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from phonoscope.compute import derive_seed, parallel_map
from phonoscope.data.phones import phone_group, phone_order
from phonoscope.errors import DataError
from phonoscope.probes.examples import Examples, Scores
from phonoscope.probes.inputs import FrameInput, Input, TableInput
from phonoscope.probes.labels import TASKS, LabelTask, find_task
from phonoscope.probes.measures import Measure, description_measures, information_measures, probe_measures
from phonoscope.probes.pitch import PITCH, Values, pitch_measures
from phonoscope.probes.splits import make_folds
from phonoscope.probes.vectors import ArrayVectors, SummedCodes

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from phonoscope.config.probes import DepthConfig
    from phonoscope.probes.labels import Columns, Split
    from phonoscope.probes.token_frames import TokenFrames

logger = logging.getLogger(__name__)
HEAD = ("codec", "task", "split", "input", "layer")
COLUMNS = (*HEAD, *Measure._fields)
CLASS_COLUMNS = (*HEAD, "class", "group", "frames", "precision", "recall", "f1")
CONFUSION_COLUMNS = (*HEAD, "class", "predicted", "frames")
Row = tuple[Any, ...]
PROBES = ("linear", "matched", "mlp")
LATENT_LAYER = 0
"""Stands in column `layer` for an input that belongs to no layer."""


@dataclass(frozen=True)
class Vectors:
    """What a codec has beside its tokens. Rows are the token table's frames, in its order."""

    codebooks: Sequence[NDArray[Any]]
    """One [codes, dims] a layer."""
    latent: NDArray[Any] | None = None
    """[n, dims], an array or memory map."""
    untrained_codes: NDArray[np.integer] | None = None
    """[n, layers]: the codes of the same class with random weights."""
    untrained_codebooks: Sequence[NDArray[Any]] = ()


@dataclass(frozen=True)
class DepthResult:
    """Tidy tables with the columns `COLUMNS`, `CLASS_COLUMNS` and `CONFUSION_COLUMNS`."""

    scores: pd.DataFrame
    classes: pd.DataFrame
    """Precision, recall and F1 of the linear probe by class."""
    confusion: pd.DataFrame
    """Eval frames by class and the linear probe's prediction; pairs that do not occur are left out."""


class _Job(NamedTuple):
    task: str
    split: Split
    input: str
    layer: int
    source: Input
    probed: bool
    """Whether probes are fitted; otherwise only the mutual information is measured."""


class _Done(NamedTuple):
    head: tuple[str, str, str, int]
    measures: list[Measure]
    scores: Scores | None


def probe_depth(
    frames: TokenFrames,
    vectors: Vectors,
    manifest: Columns,
    split: Mapping[str, Any],
    config: DepthConfig,
    *,
    codec: str,
    workers: int = 1,
) -> DepthResult:
    """Every measure of every input, layer and task.

    `frames` is a read token table, `manifest` has a value an utterance in each column, `split` the utterance ids of
    `train` and `eval` and the speakers of each of `speaker_folds`. A task that the data cannot pose (one class, no
    folds) is left out with a warning. The result does not depend on `workers`. Raises `ParamsError` for an unknown
    task, `DataError` if no task is left.
    """
    tasks = {name: find_task(name, "depth.tasks") for name in class_tasks(config.tasks, config)}
    measured = {name: find_task(name, "depth.information") for name in config.information}
    examples = {
        (name, kind): found
        for name, task in (tasks | measured).items()
        for kind in task.splits
        if (found := _examples(name, task, kind, frames, manifest, split, config))
    }
    jobs = list(_jobs(examples, set(tasks), set(measured), frames, vectors, config))
    work: list[tuple[_Job, Examples | Values]] = [(job, examples[job.task, job.split]) for job in jobs]
    if PITCH in config.tasks or config.everything:
        work += _pitch_work(frames, vectors, manifest, split, config)
    if not work:
        raise DataError("no task can be posed: the token table has no labelled frames on both sides of a split")
    measure = partial(_measure, sample=sample_utterances(manifest, split, config), config=config)
    done = parallel_map(measure, work, workers=workers, description=f"depth {codec}")
    for result in done:
        if not all(measure.converged for measure in result.measures):
            logger.warning("%s %s, %s %d: not converged; raise depth.max_iter", *result.head)
    return _tables(codec, done, {key: found.classes for key, found in examples.items()})


def class_tasks(names: Sequence[str], config: DepthConfig) -> list[str]:
    """The classification tasks among `names`, or all if `config.everything`."""
    return list(TASKS) if config.everything else [name for name in names if name != PITCH]


def sample_utterances(manifest: Columns, split: Mapping[str, Any], config: DepthConfig) -> NDArray[np.bool_]:
    """Which utterances' frames probes are fitted and scored on, [utterances]: evenly spread over train and eval."""
    sides = (split["train"], config.train_utterances), (split["eval"], config.eval_utterances)
    chosen = [name for names, count in sides for name in _spread(sorted(names), count)]
    return np.isin(np.asarray(manifest["utterance"], dtype=str), chosen)


def _spread(names: Sequence[str], count: int) -> Sequence[str]:
    """So many of them, evenly spaced; all if `count` is 0."""
    if not 0 < count < len(names):
        return names
    return [names[place] for place in np.linspace(0, len(names) - 1, count).round().astype(int)]


def _examples(
    name: str,
    task: LabelTask,
    kind: Split,
    frames: TokenFrames,
    manifest: Columns,
    split: Mapping[str, Any],
    config: DepthConfig,
) -> Examples | None:
    labels, classes = frames.labels[name]
    folds = make_folds(kind, split, manifest, config.text_folds)
    present = np.bincount(labels[labels >= 0], minlength=len(classes)) > 0
    if present.sum() < 2 or not folds:
        logger.warning("%s: left out; it needs two classes and held-out %s", name, kind)
        return None
    column = np.append(np.cumsum(present) - 1, -1)
    units = np.unique(np.asarray(manifest[task.unit], dtype=str), return_inverse=True)[1]
    kept = tuple(label for label, there in zip(classes, present, strict=True) if there)
    return Examples(column[labels], kept, frames.utterances, units.astype(np.int64), folds)


def _jobs(
    examples: Mapping[tuple[str, Split], Examples],
    tasks: set[str],
    measured: set[str],
    frames: TokenFrames,
    vectors: Vectors,
    config: DepthConfig,
) -> Iterator[_Job]:
    """Probes at the chosen layers; mutual information at every layer, once a task."""
    every = range(1, len(vectors.codebooks) + 1)
    chosen = [layer for layer in every if config.everything or layer in config.layers]
    for task, kind in examples:
        first = kind == TASKS[task].splits[0]
        for name in config.inputs:
            for layer in every if name == "layer" else [LATENT_LAYER] if name == "latent" else chosen:
                probed = task in tasks and (name == "latent" or layer in chosen)
                informative = task in measured and first and name in ("layer", "untrained")
                source = make_input(name, layer, frames, vectors) if probed or informative else None
                if source is not None:
                    yield _Job(task, kind, name, layer, source, probed)


def _pitch_work(
    frames: TokenFrames, vectors: Vectors, manifest: Columns, split: Mapping[str, Any], config: DepthConfig
) -> Iterator[tuple[_Job, Values]]:
    """The regression of F0 at the chosen layers of every input."""
    values = Values(frames.f0_hz, frames.utterances, make_folds("utterances", split, manifest)[0])
    if not values.restricted(sample_utterances(manifest, split, config)).posable:
        logger.warning("%s: left out; it needs voiced frames on both sides", PITCH)
        return
    every = range(1, len(vectors.codebooks) + 1)
    chosen = [layer for layer in every if config.everything or layer in config.layers]
    for name in config.inputs:
        for layer in [LATENT_LAYER] if name == "latent" else chosen:
            if (source := make_input(name, layer, frames, vectors)) is not None:
                yield _Job(PITCH, "utterances", name, layer, source, True), values


def make_input(name: str, layer: int, frames: TokenFrames, vectors: Vectors) -> Input | None:
    """An input by name; None where there is none (no latents, or the sum of one layer, which is that layer)."""
    if name == "latent":
        return None if vectors.latent is None else FrameInput(ArrayVectors(vectors.latent))
    if name == "untrained":
        if vectors.untrained_codes is None or layer > len(vectors.untrained_codebooks):
            return None
        return TableInput(np.asarray(vectors.untrained_codes[:, layer - 1]), vectors.untrained_codebooks[layer - 1])
    codebook = vectors.codebooks[layer - 1]
    if name == "cumulative":
        return FrameInput(SummedCodes(frames.codes, vectors.codebooks[:layer])) if layer > 1 else None
    return TableInput(np.asarray(frames.codes[:, layer - 1]), np.eye(len(codebook)) if name == "codes" else codebook)


def _measure(work: tuple[_Job, Examples | Values], sample: NDArray[np.bool_], config: DepthConfig) -> _Done:
    job, examples = work
    seed = derive_seed(config.seed, job.task, job.split, job.layer)
    if isinstance(examples, Values):
        with threadpool_limits(1):
            regressed = list(pitch_measures(examples.restricted(sample), job.source, config, seed))
        return _Done((job.task, job.split, job.input, job.layer), regressed, None)
    first = job.split == TASKS[job.task].splits[0]
    measures: list[Measure] = []
    scores = None
    informed = examples if job.input != "untrained" else examples.restricted(sample)
    # sums depend in their last bits on the number of BLAS threads, which differs between one worker and several
    with threadpool_limits(1):
        if isinstance(job.source, TableInput) and first and job.task in config.information:
            measures += information_measures(informed, job.source, config, seed)
        if job.probed:
            sampled, pooled = examples.restricted(sample), TASKS[job.task].pooled
            names = ("linear",) if job.input == "untrained" else PROBES
            found, scores = probe_measures(sampled, job.source, config, seed, names=names, pooled=pooled)
            measures += found
            if isinstance(job.source, TableInput) and job.split == "utterances":
                measures += description_measures(informed, job.source, config, seed)
    return _Done((job.task, job.split, job.input, job.layer), measures, scores)


def _tables(codec: str, done: Sequence[_Done], classes: Mapping[tuple[str, str], tuple[str, ...]]) -> DepthResult:
    import pandas as pd

    scores = [
        (codec, *result.head, *measure[:-1], str(measure.converged).lower())
        for result in done
        for measure in result.measures
    ]
    probed = [(result.head, result.scores.confusion) for result in done if result.scores is not None]
    by_class = [row for head, confusion in probed for row in _class_rows((codec, *head), confusion, classes[head[:2]])]
    pairs = [row for head, confusion in probed for row in _pair_rows((codec, *head), confusion, classes[head[:2]])]
    return DepthResult(
        pd.DataFrame(scores, columns=list(COLUMNS)),
        pd.DataFrame(by_class, columns=list(CLASS_COLUMNS)),
        pd.DataFrame(pairs, columns=list(CONFUSION_COLUMNS)),
    )


def _class_rows(head: Row, confusion: NDArray[np.int64], classes: Sequence[str]) -> Iterator[Row]:
    """Scores by class, phones by their group; `zero_division=0`."""
    true, predicted, hits = confusion.sum(axis=1), confusion.sum(axis=0), confusion.diagonal()
    phones = head[1] == "phone"
    for i in sorted(range(len(classes)), key=lambda i: phone_order(classes[i]) if phones else (0, classes[i])):
        group = phone_group(classes[i]) if phones else classes[i]
        scores = hits[i] / max(predicted[i], 1), hits[i] / max(true[i], 1), 2 * hits[i] / max(true[i] + predicted[i], 1)
        yield (*head, classes[i], group, int(true[i]), *map(float, scores))


def _pair_rows(head: Row, confusion: NDArray[np.int64], classes: Sequence[str]) -> Iterator[Row]:
    for true, predicted in np.argwhere(confusion):
        yield (*head, classes[true], classes[predicted], int(confusion[true, predicted]))
