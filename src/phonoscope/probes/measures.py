"""Every measure of one task on one input, as tidy rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from phonoscope.compute import derive_seed
from phonoscope.probes.controls import control_labels
from phonoscope.probes.description import assign_blocks, linear_log2, online_costs
from phonoscope.probes.examples import Scores, score
from phonoscope.probes.information import count_pairs, mutual_information
from phonoscope.probes.inputs import TableInput
from phonoscope.probes.scores import ClassStatistics, draw_resamples, interval, paired_difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.config.probes import DepthConfig
    from phonoscope.probes.examples import Examples, Fitter
    from phonoscope.probes.inputs import AnyProbe, Input

Array = np.ndarray[Any, np.dtype[np.float64]]
METRICS = ("accuracy", "macro_f1")


class Measure(NamedTuple):
    """One result: what a `probe` (linear, matched, mlp, pooled or, without any, table) measures, and its null.

    The null is the same on labels permuted over utterances or speakers.
    """

    probe: str
    measure: str
    value: float
    ci_low: float
    ci_high: float
    null: float
    converged: bool = True


class Fitters:
    """The probes, by name, for `examples.score`."""

    def __init__(self, config: DepthConfig, seed: int) -> None:
        self.config, self.seed = config, seed

    def linear(self, source: Input, labels: NDArray[np.int64], classes: Any) -> tuple[Input, AnyProbe]:
        return source, source.fit_linear(labels, classes, self.config)

    def matched(self, source: Input, labels: NDArray[np.int64], classes: Any) -> tuple[Input, AnyProbe]:
        reduced = source.reduced(labels >= 0, self.config.matched_dims)
        return reduced, reduced.fit_linear(labels, classes, self.config)

    def mlp(self, source: Input, labels: NDArray[np.int64], classes: Any) -> tuple[Input, AnyProbe]:
        return source, source.fit_mlp(labels, classes, self.config, derive_seed(self.seed, "mlp"))

    def named(self) -> dict[str, Fitter]:
        return {"linear": self.linear, "matched": self.matched, "mlp": self.mlp}


def probe_measures(
    examples: Examples, source: Input, config: DepthConfig, seed: int, *, names: Sequence[str], pooled: bool
) -> tuple[list[Measure], Scores]:
    """Accuracy, macro-F1 and selectivity of the probes in `names`, linear among them, and the linear one's scores.

    `pooled` adds the linear probe of whole utterances.
    """
    null = examples.permuted(derive_seed(seed, "null"))
    measures: list[Measure] = []
    found: dict[str, Scores] = {}
    fitters = Fitters(config, seed).named()
    for name in names:
        fit = fitters[name]
        found[name], reference = score(examples, source, fit), score(null, source, fit)
        measures += _scored(name, found[name], reference, config, seed)
        if isinstance(source, TableInput) and name != "matched":
            measures += _selectivity(name, found[name], reference, examples, source, fit, config, seed)
    if pooled:
        linear = Fitters(config, seed).linear
        parts = [score(*some.pooled(source), linear) for some in (examples, null)]
        measures += _scored("pooled", parts[0], parts[1], config, seed)
    return measures, found["linear"]


def _scored(name: str, found: Scores, null: Scores, config: DepthConfig, seed: int) -> Iterator[Measure]:
    values, references = found.statistics.scores(), null.statistics.scores()
    statistics = _present(found.statistics, found.statistics)
    resamples = draw_resamples(len(statistics.true), config.bootstrap.samples, derive_seed(seed, "bootstrap"))
    draws = statistics.scores(resamples)
    for metric in METRICS:
        estimate = interval(float(values[metric][0]), draws[metric], config.bootstrap.confidence)
        yield Measure(name, metric, *estimate, float(references[metric][0]), found.converged and null.converged)


def _present(part: ClassStatistics, reference: ClassStatistics) -> ClassStatistics:
    """The units that have eval frames in `reference`."""
    rows = np.flatnonzero(reference.true.sum(axis=1))
    return ClassStatistics(part.true[rows], part.predicted[rows], part.correct[rows])


def _selectivity(
    name: str,
    found: Scores,
    null: Scores,
    examples: Examples,
    source: TableInput,
    fit: Fitter,
    config: DepthConfig,
    seed: int,
) -> Iterator[Measure]:
    """Accuracy less that on the control task, a random class for every code (Hewitt and Liang 2019).

    None where the codes in training have one random class, as those of a collapsed layer may.
    """
    totals = np.bincount(examples.labels[examples.labels >= 0], minlength=len(examples.classes))
    of_code = control_labels(totals, len(source.codebook), derive_seed(seed, "control"))
    relabelled = examples.relabelled(of_code[source.codes])
    if not relabelled.posable():
        return
    control = score(relabelled, source, fit)
    own, chance = (_present(part.statistics, found.statistics) for part in (found, control))
    estimate = paired_difference(own, chance, "accuracy", config.bootstrap, seed=derive_seed(seed, "bootstrap"))
    reference = null.statistics.scores()["accuracy"][0] - control.statistics.scores()["accuracy"][0]
    yield Measure(name, "selectivity", *estimate, float(reference), found.converged and control.converged)


def information_measures(examples: Examples, source: TableInput, config: DepthConfig, seed: int) -> list[Measure]:
    """Mutual information of code and label in bits, and as a share of the labels' entropy."""
    keep = examples.labels >= 0
    found = mutual_information(
        *(source.codes[keep], examples.labels[keep], examples.frame_units()[keep]),
        (len(source.codebook), len(examples.classes)),
        draws=config.permutations,
        seed=seed,
        confidence=config.bootstrap.confidence,
    )
    scales = {"mi_bits": 1.0, "mi_share": 1 / found.entropy}
    return [
        Measure("table", name, scale * found.value, scale * found.low, scale * found.high, scale * found.null)
        for name, scale in scales.items()
    ]


def description_measures(examples: Examples, source: TableInput, config: DepthConfig, seed: int) -> list[Measure]:
    """Bits a frame of the online code of the train labels, and how much shorter it is than the uniform code."""
    bits, counted = _code_length(examples, source, config, seed)
    null, frames = _code_length(examples.permuted(derive_seed(seed, "null")), source, config, seed)
    resamples = draw_resamples(len(bits), config.bootstrap.samples, derive_seed(seed, "bootstrap"))
    draws = (resamples @ bits) / (resamples @ counted)
    value, reference = bits.sum() / counted.sum(), null.sum() / frames.sum()
    uniform, confidence = np.log2(len(examples.classes)), config.bootstrap.confidence
    length = interval(float(value), draws, confidence)
    compression = interval(float(uniform / value), uniform / draws, confidence)
    return [
        Measure("linear", "mdl_bits", *length, float(reference)),
        Measure("linear", "mdl_compression", *compression, float(uniform / reference)),
    ]


def _code_length(examples: Examples, source: TableInput, config: DepthConfig, seed: int) -> tuple[Array, Array]:
    """Bits and frames of each train unit of the first fold, [units with frames] each."""
    keep = (examples.labels >= 0) & examples.folds[0].train[examples.utterances]
    units, codes, labels = examples.frame_units()[keep], source.codes[keep], examples.labels[keep]
    sizes, shape = np.bincount(units), (len(source.codebook), len(examples.classes))
    blocks = assign_blocks(sizes, config.blocks, derive_seed(seed, "blocks"))[units]
    parts = [blocks == block for block in range(len(config.blocks))]
    tables = [count_pairs(codes[part], labels[part], shape) for part in parts]
    settings = config.model_dump(include={"C", "max_iter", "tolerance"})
    costs = online_costs(tables, lambda counts: linear_log2(counts, source.codebook, **settings))
    spent = np.zeros(len(sizes))
    for part, cost in zip(parts, costs, strict=True):
        spent += np.bincount(units[part], weights=cost[codes[part], labels[part]], minlength=len(sizes))
    return spent[sizes > 0], sizes[sizes > 0].astype(np.float64)
