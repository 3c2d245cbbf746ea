"""Every measure of one task on one input: probes, controls, mutual information and code length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.compute import derive_seed
from phonoscope.config.probes import ProbeConfig
from phonoscope.probes import controls
from phonoscope.probes.examples import Examples, Fitted, Fitter, Scores, score
from phonoscope.probes.information import assign_blocks, linear_log2, mutual_information, online_costs
from phonoscope.probes.inputs import AnyProbe, Input, TableInput
from phonoscope.probes.scores import Statistics, paired_difference
from phonoscope.probes.tables import Array, count_pairs
from phonoscope.stats import draw_resamples, interval

NONE = float("nan")
BY_CODE = ("permuted", "matched_permuted", "lookup")  # controls that need a table
CLASSES_ONLY = ("mlp", "pooled")


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
        kinds = {"permuted": self._permuted, "matched_permuted": self._permuted}
        kinds |= {"lookup": self._readouts, "majority": self._readouts}
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
        nulls = _values(reference.statistics) if reference else {}
        for metric, estimate in self._intervals(result.statistics):
            yield Measure(name, metric, *estimate, nulls.get(metric, NONE), converged)
        wanted = "selectivity" in self.config.measures and name in ("linear", "mlp")
        if wanted and isinstance(source, TableInput) and examples.classes:
            yield from self._selectivity(name, result, nulls, fit, source)

    def _fit(self, name: str, source: Input, train: Examples) -> Fitted:
        """A fitted probe or network. It predicts indices into the examples' classes; train may lack some of these."""
        config, seed = self.config, derive_seed(self.seed, "mlp")
        if name == "matched":
            source = source.reduced(train, config.matched_dims)
        probe: AnyProbe = source.fit_mlp(train, config, seed) if name == "mlp" else source.fit_linear(train, config)
        column = np.array([train.classes.index(name) for name in probe.classes])

        def predict(keep: NDArray[np.bool_]) -> NDArray[Any]:
            predicted = source.predict(probe, keep)
            return column[predicted] if train.classes else np.asarray(predicted, dtype=np.float64)

        return predict, probe

    def _permuted(self, name: str) -> Iterator[Measure]:
        """Mean score over codebooks with permuted rows, which have lost their geometry."""

        def fit(draw: int, source: Input, train: Examples) -> Fitted:
            # the same components and the same draws as the probe that this is the control of
            reader = source.reduced(train, self.config.matched_dims) if name == "matched_permuted" else source
            assert isinstance(reader, TableInput)
            seed = derive_seed(self.control_seed, "permuted", draw)
            return self._fit("linear", reader.permuted(train, seed), train)

        draws = range(1, self.config.codebook_permutations + 1)
        results = [score(self.examples, self.source, partial(fit, draw)) for draw in draws]
        values, converged = [_values(result.statistics) for result in results], all(r.converged for r in results)
        for metric in values[0]:
            mean = float(np.mean([value[metric] for value in values]))
            yield Measure(name, metric, mean, converged=converged)

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
            yield Measure(name, metric, _values(result.statistics)[metric])

    def _intervals(self, statistics: Statistics) -> Iterator[tuple[str, tuple[float, float, float]]]:
        """Each metric with its percentile interval; paired resamples take in units without frames, to be shared."""
        bootstrap, values = self.config.bootstrap, _values(statistics)
        seed = derive_seed(self.config.seed if self.config.paired else self.seed, "bootstrap")
        rows = statistics if self.config.paired else statistics.select(np.flatnonzero(statistics.frames))
        draws = rows.scores(draw_resamples(len(rows.frames), bootstrap.samples, seed))
        for metric, value in values.items():
            yield metric, interval(value, draws[metric], bootstrap.confidence)

    def _selectivity(
        self, name: str, result: Scores, nulls: Mapping[str, float], fit: Fitter, source: TableInput
    ) -> Iterator[Measure]:
        """Accuracy less that on the control task, a random class for every code (Hewitt and Liang 2019)."""
        # drawn by the classes' frequency: nothing but memory of the codes can tell them
        rng, totals = np.random.default_rng(derive_seed(self.seed, "control")), self.examples.totals()
        of_code = rng.choice(len(totals), size=len(source.codebook), p=totals / totals.sum())
        relabelled = replace(self.examples, targets=np.where(self.examples.kept, of_code[source.codes], -1))
        if not relabelled.can_be_scored():  # the codes in training have one class, as those of a collapsed layer may
            return
        control = score(relabelled, source, fit)
        present = np.flatnonzero(result.statistics.frames)
        linear, random = (part.statistics.select(present) for part in (result, control))
        bootstrap, seed = self.config.bootstrap, derive_seed(self.seed, "bootstrap")
        estimate = paired_difference(linear, random, "accuracy", bootstrap, seed=seed)
        null = nulls.get("accuracy", NONE) - _values(control.statistics)["accuracy"]
        yield Measure(name, "selectivity", *estimate, null, result.converged and control.converged)


def _values(statistics: Statistics) -> dict[str, float]:
    return {metric: float(value[0]) for metric, value in statistics.scores().items()}


def information_measures(examples: Examples, source: TableInput, config: ProbeConfig, seed: int) -> list[Measure]:
    """Mutual information of code and label in bits, and as a share of the labels' entropy."""
    keep, shape = examples.kept, (len(source.codebook), len(examples.classes))
    codes, labels, units = source.codes[keep], examples.targets[keep], examples.frame_units()[keep]
    draws, confidence = config.label_permutations, config.bootstrap.confidence
    result = mutual_information(codes, labels, units, shape, draws=draws, seed=seed, confidence=confidence)
    scales = {"mi_bits": 1.0, "mi_share": 1 / result.entropy}
    return [
        Measure("table", name, scale * result.value, scale * result.low, scale * result.high, scale * result.null)
        for name, scale in scales.items()
    ]


def description_measures(examples: Examples, source: TableInput, config: ProbeConfig, seed: int) -> list[Measure]:
    """Bits a frame of the online code of the train labels, and how much shorter it is than the uniform code."""
    bits, counted = _code_length(examples, source, config, seed)
    resamples = draw_resamples(len(bits), config.bootstrap.samples, derive_seed(seed, "bootstrap"))
    draws = (resamples @ bits) / (resamples @ counted)
    value, reference = bits.sum() / counted.sum(), NONE
    if config.label_null:
        null, frames = _code_length(examples.permuted(derive_seed(seed, "null")), source, config, seed)
        reference = null.sum() / frames.sum()
    uniform, confidence = np.log2(len(examples.classes)), config.bootstrap.confidence
    length = interval(float(value), draws, confidence)
    compression = interval(float(uniform / value), uniform / draws, confidence)
    return [
        Measure("linear", "mdl_bits", *length, float(reference)),
        Measure("linear", "mdl_compression", *compression, float(uniform / reference)),
    ]


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
