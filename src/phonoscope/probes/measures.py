"""Every measure of one task on one input: probes, controls, mutual information and code length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.compute import derive_seed
from phonoscope.config.probes import ProbeConfig
from phonoscope.probes import controls
from phonoscope.probes.examples import Examples, Fitted, Scores, score
from phonoscope.probes.information import (
    Bits,
    assign_blocks,
    held_out_bits,
    linear_log2,
    null_bits,
    online_costs,
    plug_in_bits,
)
from phonoscope.probes.inputs import AnyProbe, Input, TableInput
from phonoscope.probes.scores import paired_difference
from phonoscope.probes.tables import Array, count_pairs
from phonoscope.stats import Interval, ratio_interval

NONE = float("nan")
BY_CODE = ("permuted", "lookup")  # controls that need a table
CLASSES_ONLY = ("mlp", "pooled", "rank")  # a regression of one value uses one direction, whatever the dimensions


class Measure(NamedTuple):
    """One number, see `schema`: its probe, interval and null (NaN: not measured)."""

    probe: str
    measure: str
    value: float
    low: float = NONE
    high: float = NONE
    null: float = NONE
    converged: bool = True


class Probing:
    """Probes and controls of one task on one input; `control_seed` is that of the permuted codebooks."""

    def __init__(self, examples: Examples, source: Input, config: ProbeConfig, seed: int, control_seed: int) -> None:
        self.examples, self.source, self.config = examples, source, config
        self.seed, self.control_seed = seed, control_seed
        self.null = examples.permuted(derive_seed(seed, "null")) if config.label_null else None
        self.linear: Scores | None = None  # once the linear probe was fitted

    def measures(self, name: str) -> Iterator[Measure]:
        """All measures of one probe or control by name; none where it does not apply to the task or input."""
        table = isinstance(self.source, TableInput)
        if (name in BY_CODE and not table) or (name in CLASSES_ONLY and not self.examples.classes):
            return
        kinds = {"permuted": self._permuted, "rank": self._ranks, "lookup": self._readouts, "majority": self._readouts}
        yield from kinds.get(name, self._fitted)(name)

    def _fitted(self, name: str) -> Iterator[Measure]:
        """Scores with intervals and null, and selectivity."""
        examples, source, null, fit = self.examples, self.source, self.null, partial(self._fit, name)
        if name == "pooled":
            null = null and null.pooled(source)[0]
            examples, source = examples.pooled(source)
        result = score(examples, source, fit)
        reference = score(null, source, fit) if null else None
        if name == "linear":
            self.linear = result
        converged = result.converged and (reference is None or reference.converged)
        nulls = reference.statistics.scores() if reference else {}
        for metric, estimate in result.statistics.intervals(self.config.confidence).items():
            yield Measure(name, metric, *estimate, nulls.get(metric, NONE), converged)
        wanted = "selectivity" in self.config.measures and name in ("linear", "mlp")
        if wanted and isinstance(source, TableInput) and examples.classes:
            yield from self._selectivity(name, source)

    def _fit(self, name: str, source: Input, train: Examples, config: ProbeConfig | None = None) -> Fitted:
        """A fitted probe or network. It predicts indices into the examples' classes; train may lack some of these."""
        config, seed = config or self.config, derive_seed(self.seed, "mlp")
        probe: AnyProbe = source.fit_mlp(train, config, seed) if name == "mlp" else source.fit_linear(train, config)
        column = np.array([train.classes.index(name) for name in probe.classes])

        def predict(keep: NDArray[np.bool_]) -> NDArray[Any]:
            predicted = source.predict(probe, keep)
            return column[predicted] if train.classes else np.asarray(predicted, dtype=np.float64)

        return predict, probe

    def _ranks(self, _: str) -> Iterator[Measure]:
        """Linear probes on the one, two, ... directions that best separate the classes of the train frames."""

        def fit(rank: int, source: Input, train: Examples) -> Fitted:
            return self._fit("linear", source.discriminants(train, rank, self.config.classifier.class_weight), train)

        for rank in self.config.ranks:
            result = score(self.examples, self.source, partial(fit, rank))
            for metric, estimate in result.statistics.intervals(self.config.confidence).items():
                yield Measure(f"rank_{rank}", metric, *estimate, converged=result.converged)

    def _permuted(self, name: str) -> Iterator[Measure]:
        """Mean score over codebooks with permuted rows, which have lost their geometry, and the range over them."""

        def fit(draw: int, source: Input, train: Examples) -> Fitted:
            assert isinstance(source, TableInput)
            return self._fit("linear", source.permuted(train, derive_seed(self.control_seed, "permuted", draw)), train)

        draws = range(1, self.config.codebook_permutations + 1)
        results = [score(self.examples, self.source, partial(fit, draw)) for draw in draws]
        values, converged = [result.statistics.scores() for result in results], all(r.converged for r in results)
        for metric in values[0]:
            scores = [value[metric] for value in values]
            yield Measure(name, metric, float(np.mean(scores)), min(scores), max(scores), converged=converged)

    def _readouts(self, name: str) -> Iterator[Measure]:
        """Scores of the best prediction by code for each metric, or of the one best prediction for all frames."""

        def fit(metric: str, source: Input, train: Examples) -> Fitted:
            if name == "majority":
                best = train.totals().argmax() if train.classes else train.mean()
                return (lambda keep: np.full(int(keep.sum()), best)), None
            assert isinstance(source, TableInput)
            table, by_code = source.table(train), controls.lookup_classes if train.classes else controls.lookup_values
            if metric == "macro_f1":
                by_code = partial(controls.smoothed_lookup_classes, class_weight=self.config.classifier.class_weight)
            best_of = by_code(table)
            return (lambda keep: best_of[source.codes[keep]]), None

        for metric in ("macro_f1", "accuracy") if self.examples.classes else ("r2", "mae"):
            result = score(self.examples, self.source, partial(fit, metric))
            yield Measure(name, metric, result.statistics.scores()[metric])

    def _selectivity(self, name: str, source: TableInput) -> Iterator[Measure]:
        """Accuracy less that on the control task, a random class for every code (Hewitt and Liang 2019).

        Both probes weigh every frame alike, as accuracy does.
        """
        # drawn by the classes' frequency: nothing but memory of the codes can tell them
        rng, totals = np.random.default_rng(derive_seed(self.seed, "control")), self.examples.totals()
        of_code = rng.choice(len(totals), size=len(source.codebook), p=totals / totals.sum())
        relabelled = replace(self.examples, targets=np.where(self.examples.kept, of_code[source.codes], -1))
        if not relabelled.can_be_scored():  # the codes in training have one class, as those of a collapsed layer may
            return
        classifier = self.config.classifier.model_copy(update={"class_weight": "none"})
        fit = partial(self._fit, name, config=self.config.model_copy(update={"classifier": classifier}))
        real, control = (score(examples, source, fit) for examples in (self.examples, relabelled))
        estimate = paired_difference(real.statistics, control.statistics, "accuracy", self.config.confidence)
        yield Measure(name, "selectivity", *estimate, converged=real.converged and control.converged)


def information_measures(examples: Examples, source: TableInput, config: ProbeConfig, seed: int) -> list[Measure]:
    """Mutual information of code and label in bits: two estimates, see `probes.information`."""
    keep, shape = examples.kept, (len(source.codebook), len(examples.classes))
    codes, labels, units = source.codes[keep], examples.targets[keep], examples.frame_units()[keep]
    utterances = examples.utterances[keep]
    null = null_bits(codes, labels, utterances, shape, draws=config.label_permutations, seed=seed)
    corrected = plug_in_bits(count_pairs(codes, labels, shape)) - null
    held_out: Bits = held_out_bits(codes, labels, units, shape, folds=config.information_folds, seed=seed)
    bound = ratio_interval(held_out.bits, held_out.frames, confidence=config.confidence)
    return [
        Measure("table", "mi_corrected_bits", corrected, null=null),
        Measure("table", "mi_held_out_bits", *bound),
        Measure("table", "mi_held_out_share", *_scaled(bound, 1 / held_out.entropy)),
    ]


def description_measures(examples: Examples, source: TableInput, config: ProbeConfig, seed: int) -> list[Measure]:
    """Bits a frame of the online code of the train labels, and how much shorter it is than the uniform code."""
    length = ratio_interval(*_code_length(examples, source, config, seed), confidence=config.confidence)
    reference = NONE
    if config.label_null:
        null, frames = _code_length(examples.permuted(derive_seed(seed, "null")), source, config, seed)
        reference = float(null.sum() / frames.sum())
    uniform = np.log2(len(examples.classes))
    return [
        Measure("linear", "mdl_bits", *length, reference),
        Measure("linear", "mdl_compression", *_inverse(length, uniform), float(uniform / reference)),
    ]


def _scaled(interval: Interval, factor: float) -> Interval:
    return Interval(factor * interval.value, factor * interval.low, factor * interval.high)


def _inverse(interval: Interval, factor: float) -> Interval:
    """factor / value, of a positive value; its upper end is infinite where the value's lower end is not positive."""
    high = factor / interval.low if interval.low > 0 else float("inf")
    return Interval(factor / interval.value, factor / interval.high, high)


def _code_length(examples: Examples, source: TableInput, config: ProbeConfig, seed: int) -> tuple[Array, Array]:
    """Bits and frames of each train unit of the first fold, [units with frames] each."""
    keep = examples.kept & examples.folds[0].train[examples.utterances]
    units, codes, labels = examples.frame_units()[keep], source.codes[keep], examples.targets[keep]
    sizes, shape = np.bincount(units), (len(source.codebook), len(examples.classes))
    blocks = assign_blocks(sizes, config.blocks, derive_seed(seed, "blocks"))[units]
    parts = [blocks == block for block in range(len(config.blocks))]
    tables = [count_pairs(codes[part], labels[part], shape) for part in parts]
    settings = config.classifier.model_dump(include={"C", "max_iter", "tolerance"})
    costs = online_costs(tables, lambda counts: linear_log2(counts, source.codebook, **settings))
    # a frame's cost depends on its block, code and class alone: units are billed by look-up
    spent = np.zeros(len(sizes))
    for part, cost in zip(parts, costs, strict=True):
        spent += np.bincount(units[part], weights=cost[codes[part], labels[part]], minlength=len(sizes))
    return spent[sizes > 0], sizes[sizes > 0].astype(np.float64)
