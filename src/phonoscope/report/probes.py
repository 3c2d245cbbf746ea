"""Linear probes of all codecs: one table, the study's expectations judged, distillation, a figure a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from phonoscope.drawing import GREY, UNDISTILLED, codec_looks, new_figure, style
from phonoscope.errors import DataError
from phonoscope.report.markdown import markdown, number, with_interval
from phonoscope.report.verdict import Estimate, judge, verdict_frame, verdict_markdown
from phonoscope.stats import draw_resamples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

KEYS = ("codec", "layer", "task", "probe", "measure")
CONTROLS = ("permuted", "lookup", "majority")
COLUMNS = (*KEYS, "value", "low", "high", *CONTROLS, "converged")
MATCHED = "matched"
"""Probes on codebook rows reduced to a common number of dimensions."""
MEASURES = {"macro_f1": "macro-F1", "accuracy": "accuracy", "mae": "MAE", "r2": "R²"}
LABELS = {
    "macro_f1": "macro-F1",
    "accuracy": "accuracy (share of frames)",
    "mae": "MAE in Hz (lower is better)",
    "r2": "R²",
}
TITLES = {"pitch": "Pitch (F0 of voiced frames)"}
SPREAD = 0.36
"""Width over which a layer's codecs are set side by side, in layers."""
RATIO = 1.1
"""A distilled codec's score over its undistilled version's that counts as a gain."""
PLATEAU, SHARP, LOW_R2 = 0.9, 2.0, 0.1
"""Bounds of the study's expectations: deep layers over the best one; layer 1 over the next; R2 that is low."""


DISTILLATION = (
    *("codec", "task", "measure", "layer", "distilled", "undistilled"),
    *("ratio", "ratio_low", "ratio_high", "p_over_1_1"),
    *("difference", "difference_low", "difference_high"),
)


class Score(NamedTuple):
    """A layer's score, its interval and its references."""

    layer: int
    value: float
    low: float
    high: float
    lookup: float
    majority: float

    @property
    def estimate(self) -> Estimate:
        return Estimate(self.value, self.low, self.high)


def table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The codecs' probes of single layers with their controls as columns, `COLUMNS`, sorted by codec, task, measure.

    Raises `DataError` naming the codec if a column is missing, a row belongs to another codec or stands twice, or a
    score or a control is not a finite number.
    """
    stacked = pd.concat([_controlled(codec, part) for codec, part in tables.items()], ignore_index=True)
    order = {"codec": list(tables), "measure": list(MEASURES)} | {
        column: list(dict.fromkeys(stacked[column])) for column in ("task", "probe")
    }
    ranks = [
        stacked[column].map(order[column].index).rename(column) for column in ("codec", "task", "probe", "measure")
    ]
    rank = pd.concat([*ranks, stacked["layer"]], axis=1).sort_values(["codec", "task", "probe", "measure", "layer"])
    return stacked.loc[rank.index, list(COLUMNS)].reset_index(drop=True)


def _controlled(codec: str, rows: pd.DataFrame) -> pd.DataFrame:
    """One codec's probes with their controls in columns."""
    where = f"probe scores of {codec}"
    missing = [name for name in (*KEYS, "input", "value", "low", "high", "converged") if name not in rows]
    if missing:
        raise DataError(f"{where}: no column {missing[0]!r}")
    others = set(rows["codec"]) - {codec}
    if others:
        raise DataError(f"{where}: rows of another codec, {min(map(str, others))!r}")
    rows = rows[(rows["input"] == "layer") & rows["measure"].isin(MEASURES)]
    if rows.duplicated(list(KEYS)).any():
        raise DataError(f"{where}: a layer, task, probe and measure stand twice")
    keys = ["layer", "task", "measure"]
    values = {name: part.set_index(keys)["value"] for name, part in rows.groupby("probe")}
    parts = []
    for probe, permuted in (("linear", "permuted"), (MATCHED, "matched_permuted")):
        part = rows[rows["probe"] == probe].set_index(keys)
        controls = {"permuted": permuted, "lookup": "lookup", "majority": "majority"}
        nothing = pd.Series(dtype=float)
        part = part.assign(**{name: values.get(row, nothing).reindex(part.index) for name, row in controls.items()})
        parts.append(part.reset_index())
    joined = pd.concat(parts, ignore_index=True)[list(COLUMNS)]
    numbers = joined[["value", "low", "high", *CONTROLS]].to_numpy(dtype=np.float64)
    broken = joined[~np.isfinite(numbers).all(axis=1)]
    if len(broken):
        row = broken.iloc[0]
        raise DataError(f"{where}: {row['task']} {row['measure']} of layer {row['layer']} or its control is not finite")
    return joined


def headline_measure(task: str) -> str:
    """The measure that stands for a task: R2 of pitch, macro-F1 of classes."""
    return "r2" if task == "pitch" else "macro_f1"


def scores(rows: pd.DataFrame, codec: str, task: str, measure: str) -> list[Score]:
    """Scores of one codec's linear probes by layer; empty if the task was not probed."""
    chosen = rows[(rows["codec"] == codec) & (rows["task"] == task) & (rows["measure"] == measure)]
    chosen = chosen[chosen["probe"] == "linear"].sort_values("layer")
    columns = chosen[["layer", "value", "low", "high", "lookup", "majority"]]
    return [Score(int(layer), *map(float, rest)) for layer, *rest in columns.itertuples(index=False)]


def best(layers: Sequence[Score], measure: str) -> Score:
    """The layer with the best value; the first of equals."""
    return (min if measure == "mae" else max)(layers, key=lambda score: score.value)


def verdicts(rows: pd.DataFrame, distilled: pd.DataFrame) -> pd.DataFrame:
    """Claims about the probes, judged: claim, codec, layer, value, low, high, bound, verdict.

    The expectations are those of Denn and Aralikatti (2026), "Expected Results". A difference or ratio of two layers
    has the widest interval that the layers' own intervals allow. `rows` is from `table`, `distilled` from
    `distillation`.
    """
    expected, informed = [], []
    for codec, task in rows[["codec", "task"]].drop_duplicates().itertuples(index=False):
        measure = headline_measure(task)
        layers, name = scores(rows, codec, task, measure), f"{task} {MEASURES[measure]}"
        expected += [{**row, "codec": codec} for row in _expected(codec, task, name, layers)]
        top, constant = best(layers, measure), "training mean" if task == "pitch" else "majority class"
        claim = f"{name}: best layer above the {constant}"
        informed.append(judge(claim, top.estimate, top.majority, codec=codec, layer=top.layer))
    return verdict_frame([*_distilled(distilled), *expected, *informed], "codec", "layer")


def _expected(codec: str, task: str, name: str, layers: list[Score]) -> Iterator[dict[str, Any]]:
    """The study's expectations of EnCodec and SpeechTokenizer."""
    top, first = best(layers, headline_measure(task)), layers[0]
    half, quarter = max(len(layers) // 2, 1), -(-len(layers) // 4)
    if (codec, task) == ("encodec", "phone"):
        if half > 1:
            rise = _highest(layers[1:half]).minus(first.estimate)
            yield judge(f"{name}: rises after layer 1", rise, 0.0, layer=best(layers[1:half], "macro_f1").layer)
        deep = Estimate(*np.mean([score.estimate for score in layers[half:] or layers], axis=0))
        claim = f"{name}: plateau (mean beyond layer {half} over the best layer)"
        yield judge(claim, deep.over(_highest(layers)), PLATEAU, layer=top.layer)
    if (codec, task) == ("speechtokenizer", "phone") and len(layers) > 1:
        second = best(layers[1:], "macro_f1")
        claim = f"{name}: sharp rise at layer 1 (over the best other layer)"
        yield judge(claim, first.estimate.over(second.estimate), SHARP, layer=second.layer)
    if task == "speaker" and codec in ("encodec", "speechtokenizer") and len(layers) > quarter:
        late = _highest(layers[quarter:]).minus(_highest(layers[:quarter]))
        claim = f"{name}: stronger beyond layer {quarter} (best later layer minus best earlier one)"
        yield judge(claim, late, 0.0, layer=best(layers[quarter:], "macro_f1").layer)
    if task == "pitch" and codec in ("encodec", "speechtokenizer"):
        yield judge(f"{name}: low in all layers", _highest(layers), LOW_R2, above=False, layer=top.layer)


def _highest(layers: Sequence[Score]) -> Estimate:
    """The largest value of some layers, with the largest lower and upper limit."""
    return Estimate(*np.max([score.estimate for score in layers], axis=0))


def _distilled(distilled: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """Whether distillation changes phones and speakers at RVQ layer 1."""
    rows = distilled[(distilled["layer"] == 1) & distilled["task"].isin(["phone", "speaker"])]
    for row in rows.to_dict("records"):
        name = f"{row['task']} {MEASURES[row['measure']]}: distilled"
        place = {"codec": row["codec"], "layer": 1}
        if np.isnan(row["ratio"]):
            yield judge(f"{name} minus undistilled", _estimate(row, "difference"), 0.0, **place)
            continue
        yield judge(f"{name} over undistilled", _estimate(row, "ratio"), 1.0, **place)
        if row["measure"] == "macro_f1":
            above = row["task"] == "phone"
            claim = f"{name} {'over' if above else 'under'} {RATIO} times undistilled"
            yield judge(claim, _estimate(row, "ratio"), RATIO, above=above, **place)


def _estimate(row: Mapping[Any, Any], name: str) -> Estimate:
    return Estimate(row[name], row[f"{name}_low"], row[f"{name}_high"])


class Statistics(Protocol):
    """Sums over eval utterances that give the scores of one layer."""

    def scores(self, multiplicity: NDArray[np.float64] | None = None) -> dict[str, NDArray[np.float64]]:
        """Scores of each resample; `multiplicity` is [resamples, utterances], None for the utterances themselves."""


class Probed(Protocol):
    """The probes of one codec and task."""

    @property
    def utterances(self) -> Sequence[str]: ...

    @property
    def statistics(self) -> Sequence[Statistics]:
        """One for each layer."""


def distillation(
    results: Mapping[tuple[str, str], Probed], *, samples: int, confidence: float, seed: int
) -> pd.DataFrame:
    """Scores of each layer of a distilled codec against its undistilled version, `<name>_undistilled`.

    Ratio and difference have paired percentile intervals: both codecs are scored on the same resamples of utterances.
    `p_over_1_1` is the share of resamples whose ratio exceeds 1.1. R2 has no ratio (NaN), as it can be negative, nor
    has a score whose undistilled value is 0. `results` is by codec and task.

    Raises `DataError` if the two codecs were probed on different utterances.
    """
    rows = []
    for (codec, task), first in results.items():
        second = results.get((codec + UNDISTILLED, task))
        if second is None:
            continue
        if first.utterances != second.utterances:
            raise DataError(f"{codec} and {codec}{UNDISTILLED} were probed on different utterances")
        resamples = draw_resamples(len(first.utterances), samples, seed)
        for layer, both in enumerate(zip(first.statistics, second.statistics, strict=False), start=1):
            for row in _paired(*both, resamples, confidence):
                rows.append({"codec": codec, "task": task, "layer": layer, **row})
    return pd.DataFrame(rows, columns=list(DISTILLATION))


def _paired(
    distilled: Statistics, undistilled: Statistics, resamples: NDArray[np.float64], confidence: float
) -> Iterator[dict[str, Any]]:
    """One row a measure; `resamples` is [samples, utterances]."""
    (values, draws), (other_values, other_draws) = (
        (one.scores(), one.scores(resamples)) for one in (distilled, undistilled)
    )
    for measure in values:
        first, second = float(values[measure][0]), float(other_values[measure][0])
        row = {"measure": measure, "distilled": first, "undistilled": second}
        row |= _bounds("difference", first - second, draws[measure] - other_draws[measure], confidence)
        if measure != "r2" and second > 0:
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios = draws[measure] / other_draws[measure]
            ratios = ratios[np.isfinite(ratios)]
            row |= _bounds("ratio", first / second, ratios, confidence)
            row["p_over_1_1"] = float((ratios > RATIO).mean())
        yield row


def _bounds(name: str, value: float, draws: NDArray[np.float64], confidence: float) -> dict[str, float]:
    tail = (1 - confidence) / 2
    low, high = map(float, np.nanquantile(draws, [tail, 1 - tail]))
    return {name: value, f"{name}_low": low, f"{name}_high": high}


def markdown_tables(rows: pd.DataFrame, judged: pd.DataFrame) -> str:
    """The verdicts, a table of layers by codecs for each task, and all tasks side by side; † marks a probe that has
    not converged, bold each column's best layer.
    """
    parts = ["## Verdicts", verdict_markdown(judged)]
    tasks = list(dict.fromkeys(rows["task"]))
    for task in tasks:
        measure = headline_measure(task)
        parts += [f"## {task.capitalize()}, {MEASURES[measure]}", layer_table(rows, task, measure)]
    beside = {
        f"{task}, {codec}, {MEASURES[measure]}": column
        for task in tasks
        for codec in dict.fromkeys(rows.loc[rows["task"] == task, "codec"])
        for measure in _measures(rows, task)
        for _, column in _columns(rows[rows["codec"] == codec], task, measure, interval=False)
    }
    return "\n\n".join([*parts, "## Side by side", _layers(beside)]) + "\n"


def layer_table(rows: pd.DataFrame, task: str, measure: str) -> str:
    """Scores of a task as Markdown, layers by codecs, with intervals; `rows` are from `table`."""
    return _layers(dict(_columns(rows, task, measure)))


def _measures(rows: pd.DataFrame, task: str) -> list[str]:
    return [measure for measure in MEASURES if ((rows["task"] == task) & (rows["measure"] == measure)).any()]


def _columns(
    rows: pd.DataFrame, task: str, measure: str, *, interval: bool = True
) -> Iterator[tuple[str, dict[int, str]]]:
    """Each codec's cells by layer."""
    failed = rows[~rows["converged"].astype(bool) & (rows["probe"] == "linear") & (rows["task"] == task)]
    failures = set(failed[["codec", "layer"]].itertuples(index=False, name=None))
    for codec in dict.fromkeys(rows.loc[(rows["task"] == task) & (rows["measure"] == measure), "codec"]):
        layers = scores(rows, codec, task, measure)
        top = best(layers, measure).layer
        cells = {}
        for score in layers:
            cell = f"**{number(score.value)}**" if score.layer == top else number(score.value)
            cell += with_interval(*score.estimate).removeprefix(number(score.value)) if interval else ""
            cells[score.layer] = cell + "†" * ((codec, score.layer) in failures)
        yield str(codec), cells


def _layers(columns: Mapping[str, Mapping[int, str]]) -> str:
    return markdown(pd.DataFrame(columns).sort_index().rename_axis("layer").reset_index(), text_columns=0)


def draw(
    rows: pd.DataFrame,
    task: str,
    *,
    dims: Mapping[str, int] | None = None,
    matched_dims: int | None = None,
    confidence: float = 0.95,
    utterances: int | None = None,
) -> Figure:
    """Two panels, one a measure; below them, where the table has them, the probes on rows of matched dimension.

    `rows` is from `table`, with at least one row of `task`. `dims` is each codec's effective dimension: the number of
    independent directions that its codebook rows span. It stands in the legend, since scores of codecs whose rows
    differ in dimension measure that too; `matched_dims` is the dimension of the second line of panels.
    """
    rows = rows[rows["task"] == task]
    probes = [probe for probe in ("linear", MATCHED) if (rows["probe"] == probe).any()]
    measures = _measures(rows, task)
    looks = codec_looks(list(dict.fromkeys(rows["codec"])))
    reduced = f"rows reduced by PCA to {matched_dims or 'the same number of'} dimensions"
    with style():
        figure = new_figure(10.5, 0.9 + 3.1 * len(probes))
        panels = figure.subplots(len(probes), len(measures), sharex=True, sharey="col", squeeze=False)
        for line, probe in zip(panels, probes, strict=True):
            for axes, measure in zip(line, measures, strict=True):
                _draw_panel(axes, rows[(rows["probe"] == probe) & (rows["measure"] == measure)], looks)
                axes.set_ylabel(LABELS[measure])
                axes.set_title(reduced if probe == MATCHED else "rows as they are", loc="left")
        for axes in panels[-1]:
            axes.set_xlabel("RVQ layer")
        title = f"{TITLES.get(task, task.capitalize())} decodability by RVQ layer"
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        _add_legend(figure, looks, dims or {}, task, confidence, utterances)
        return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

    step = SPREAD / max(len(looks) - 1, 1)
    for rank, (codec, look) in enumerate(looks.items()):
        part, hue = rows[rows["codec"] == codec].sort_values("layer"), look["color"]
        x = part["layer"] + step * rank - SPREAD / 2
        dots = (0, (1, 1.5)) if look["linestyle"] == "-" else (0, (1, 3))
        axes.plot(x, part["lookup"], color=hue, linewidth=0.9, linestyle=dots, zorder=1.5)
        axes.plot(x, part["permuted"], color=hue, marker="x", markersize=3, linestyle="", alpha=0.45, zorder=1.6)
        axes.vlines(x, part["low"], part["high"], color=hue, linewidth=1.2, zorder=2)
        axes.plot(x, part["value"], label=codec, zorder=2.5, **look)
    axes.axhline(rows["majority"].mean(), color=GREY, linewidth=0.9, linestyle=(0, (8, 4)), zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    axes.set_xlim(0.5, int(rows["layer"].max()) + 0.5)


def _add_legend(
    figure: Figure,
    looks: Mapping[str, Mapping[str, Any]],
    dims: Mapping[str, int],
    task: str,
    confidence: float,
    utterances: int | None,
) -> None:
    from matplotlib.lines import Line2D

    names = {codec: codec.replace("_", " ") + (f" (D = {dims[codec]})" if codec in dims else "") for codec in looks}
    over = f",\nbootstrap over {utterances} utterances" if utterances else ""
    references: dict[str, dict[str, Any]] = {
        f"{100 * confidence:g} % interval{over}": {"marker": "|", "linestyle": "", "markersize": 9},
        "lookup (table read-out)": {"linestyle": ":", "linewidth": 0.9},
        "permuted codebook": {"marker": "x", "linestyle": "", "markersize": 3},
        "training mean" if task == "pitch" else "majority class": {"linestyle": (0, (8, 4)), "linewidth": 0.9},
    }
    keys = [Line2D([], [], label=names[codec], **look) for codec, look in looks.items()]
    keys += [Line2D([], [], label=label, color=GREY, **look) for label, look in references.items()]
    title = "codec (D: effective dimension of its rows)" if dims else "codec"
    figure.legend(handles=keys, loc="outside right upper", title=title, alignment="left", handlelength=3)
