"""Linear probes of all codecs: one table, the study's expectations judged, distillation, a figure a task."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from phonoscope.drawing import GREY, UNDISTILLED, codec_looks, new_figure, style
from phonoscope.errors import DataError
from phonoscope.report.figures import Looks, add_title, beside, keys
from phonoscope.report.markdown import markdown, number, page, with_interval
from phonoscope.report.verdict import Estimate, judge, verdict_frame, verdict_markdown
from phonoscope.stats import draw_resamples, interval

if TYPE_CHECKING:
    from phonoscope.probes.scores import Statistics
    from phonoscope.probes.store import TaskResult

CONTROLS = ("permuted", "lookup", "majority")
COLUMNS = ("codec", "layer", "task", "probe", "measure", "value", "low", "high", *CONTROLS, "converged")
MATCHED = "matched"  # probes on codebook rows reduced to a common number of dimensions
MEASURES = {"macro_f1": "macro-F1", "accuracy": "accuracy", "mae": "MAE", "r2": "R²"}
LABELS = {**MEASURES, "accuracy": "accuracy (share of frames)", "mae": "MAE in Hz (lower is better)"}
TITLES = {"pitch": "Pitch (F0 of voiced frames)"}
SPREAD = 0.36  # width over which a layer's codecs are set side by side, in layers
RATIO = 1.1  # a distilled codec's score over its undistilled version's that counts as a gain
PLATEAU, SHARP, LOW_R2 = 0.9, 2.0, 0.1
"""Bounds of the study's expectations: deep layers over the best one; layer 1 over the next; R2 that is low."""
DISTILLATION = ["codec", "task", "measure", "layer", "distilled", "undistilled", "ratio", "ratio_low", "ratio_high"]
DISTILLATION += ["p_over_1_1", "difference", "difference_low", "difference_high"]


class Score(NamedTuple):
    """A layer's score with its interval, and the score of the constant answer."""

    layer: int
    estimate: Estimate
    majority: float


def table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The codecs' probes of single layers with their controls as columns, `COLUMNS`, sorted by codec, task, measure."""
    stacked = pd.concat(map(_controlled, tables.values()), ignore_index=True)
    orders = {column: list(dict.fromkeys(stacked[column])) for column in ("codec", "task", "probe")}
    orders["measure"] = list(MEASURES)
    ranks = pd.DataFrame({column: stacked[column].map(order.index) for column, order in orders.items()})
    rows = ranks.assign(layer=stacked["layer"]).sort_values([*orders, "layer"]).index
    return stacked.loc[rows, list(COLUMNS)].reset_index(drop=True)


def _controlled(rows: pd.DataFrame) -> pd.DataFrame:
    rows = rows[(rows["input"] == "layer") & rows["measure"].isin(MEASURES)]
    place = ["layer", "task", "measure"]
    values, parts = rows.pivot(index=place, columns="probe", values="value"), []
    for probe, permuted in (("linear", "permuted"), (MATCHED, "matched_permuted")):
        controls = values.reindex(columns=[permuted, *CONTROLS[1:]]).set_axis(CONTROLS, axis=1)
        parts.append(rows[rows["probe"] == probe].join(controls, on=place))
    return pd.concat(parts, ignore_index=True)


def headline_measure(task: str) -> str:
    """The measure that stands for a task: R2 of pitch, macro-F1 of classes."""
    return "r2" if task == "pitch" else "macro_f1"


def scores(rows: pd.DataFrame, codec: str, task: str, measure: str) -> list[Score]:
    """Scores of one codec's linear probes by layer; empty if the task was not probed."""
    chosen = rows[(rows["codec"] == codec) & (rows["task"] == task) & (rows["measure"] == measure)]
    chosen = chosen[chosen["probe"] == "linear"].sort_values("layer")
    numbers = chosen[["layer", "value", "low", "high", "majority"]].astype(float).to_numpy().tolist()
    return [Score(int(layer), Estimate(*estimate), majority) for layer, *estimate, majority in numbers]


def best(layers: Sequence[Score], measure: str) -> Score:
    """The layer with the best value; the first of equals."""
    return (min if measure == "mae" else max)(layers, key=lambda score: score.estimate.value)


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
        difference, ratio = (Estimate(row[of], row[f"{of}_low"], row[f"{of}_high"]) for of in ("difference", "ratio"))
        if np.isnan(ratio.value):
            yield judge(f"{name} minus undistilled", difference, 0.0, **place)
            continue
        yield judge(f"{name} over undistilled", ratio, 1.0, **place)
        if row["measure"] == "macro_f1":
            above = row["task"] == "phone"
            claim = f"{name} {'over' if above else 'under'} {RATIO} times undistilled"
            yield judge(claim, ratio, RATIO, above=above, **place)


def distillation(
    results: Mapping[tuple[str, str], TaskResult], *, samples: int, confidence: float, seed: int
) -> pd.DataFrame:
    """Scores of each layer of a distilled codec against its undistilled version, `<name>_undistilled`.

    Ratio and difference have paired percentile intervals: both codecs are scored on the same resamples of utterances.
    `p_over_1_1` is the share of resamples whose ratio exceeds 1.1. R2 has no ratio (NaN), as it can be negative, nor
    has a score whose undistilled value is 0. Raises `DataError` if the codecs were probed on different utterances.
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
            place = {"codec": codec, "task": task, "layer": layer}
            rows += [place | row for row in _paired(*both, resamples, confidence)]
    return pd.DataFrame(rows, columns=DISTILLATION)


def _paired(
    distilled: Statistics, undistilled: Statistics, resamples: NDArray[np.float64], confidence: float
) -> Iterator[dict[str, Any]]:
    """One row a measure; `resamples` is [samples, utterances]."""
    values, other_values = distilled.scores(), undistilled.scores()
    draws, other_draws = distilled.scores(resamples), undistilled.scores(resamples)

    def bounds(name: str, value: float, draws: NDArray[np.float64]) -> dict[str, float]:
        return dict(zip((name, f"{name}_low", f"{name}_high"), interval(value, draws, confidence), strict=True))

    for measure in values:
        first, second = float(values[measure][0]), float(other_values[measure][0])
        row = {"measure": measure, "distilled": first, "undistilled": second}
        row |= bounds("difference", first - second, draws[measure] - other_draws[measure])
        if measure != "r2" and second > 0:
            # a resample of few utterances can score 0 without distillation: it has no ratio
            with np.errstate(divide="ignore", invalid="ignore"):
                ratios = draws[measure] / other_draws[measure]
            ratios = ratios[np.isfinite(ratios)]
            row |= bounds("ratio", first / second, ratios) | {"p_over_1_1": float((ratios > RATIO).mean())}
        yield row


def markdown_tables(rows: pd.DataFrame, judged: pd.DataFrame) -> str:
    """The verdicts, a table of layers by codecs for each task, all side by side; † marks a fit not converged."""
    parts, all_tasks = ["## Verdicts", verdict_markdown(judged)], {}
    for task, part in rows.groupby("task", sort=False):
        headline = headline_measure(str(task))
        parts += [f"## {str(task).capitalize()}, {MEASURES[headline]}", layer_table(rows, str(task), headline)]
        for codec in part["codec"].unique():
            for measure in part["measure"].unique():
                cells = _columns(part, str(task), measure, interval=False)[codec]
                all_tasks[f"{task}, {codec}, {MEASURES[measure]}"] = cells
    return page(*parts, "## Side by side", _layers(all_tasks))


def layer_table(rows: pd.DataFrame, task: str, measure: str) -> str:
    """Scores of a task as Markdown, layers by codecs, with intervals; `rows` are from `table`."""
    return _layers(_columns(rows, task, measure))


def _columns(rows: pd.DataFrame, task: str, measure: str, *, interval: bool = True) -> dict[str, dict[int, str]]:
    """Each codec's cells by layer."""
    failed = rows[~rows["converged"].astype(bool) & (rows["probe"] == "linear") & (rows["task"] == task)]
    failures = set(failed[["codec", "layer"]].itertuples(index=False, name=None))
    columns: dict[str, dict[int, str]] = {}
    for codec in dict.fromkeys(rows.loc[(rows["task"] == task) & (rows["measure"] == measure), "codec"]):
        layers = scores(rows, codec, task, measure)
        top = best(layers, measure).layer
        columns[codec] = {}
        for layer, estimate, _ in layers:
            text = number(estimate.value)
            cell = f"**{text}**" if layer == top else text
            cell += with_interval(*estimate).removeprefix(text) if interval else ""
            columns[codec][layer] = cell + "†" * ((codec, layer) in failures)
    return columns


def _layers(columns: Mapping[str, Mapping[int, str]]) -> str:
    return markdown(pd.DataFrame(columns).sort_index().rename_axis("layer").reset_index(), text_columns=0)


@style()
def draw(
    rows: pd.DataFrame, task: str, *, dims: Mapping[str, int], matched_dims: int, confidence: float, utterances: int
) -> Figure:
    """Two panels, one a measure; below them, where the table has them, the probes on rows of `matched_dims` dimensions.

    `rows` is from `table`, with at least one row of `task`. `dims` is each codec's effective dimension: the number of
    independent directions that its codebook rows span. It stands in the legend, since scores measure that too.
    """
    rows = rows[rows["task"] == task]
    probes = [probe for probe in ("linear", MATCHED) if (rows["probe"] == probe).any()]
    measures, looks = rows["measure"].unique(), codec_looks(list(dict.fromkeys(rows["codec"])))
    figure = new_figure(10.5, 0.9 + 3.1 * len(probes))
    panels = figure.subplots(len(probes), len(measures), sharex=True, sharey="col", squeeze=False)
    for line, probe in zip(panels, probes, strict=True):
        for axes, measure in zip(line, measures, strict=True):
            _draw_panel(axes, rows[(rows["probe"] == probe) & (rows["measure"] == measure)], looks)
            axes.set_ylabel(LABELS[measure])
            reduced = f"rows reduced by PCA to {matched_dims} dimensions"
            axes.set_title(reduced if probe == MATCHED else "rows as they are", loc="left")
    for axes in panels[-1]:
        axes.set_xlabel("RVQ layer")
    add_title(figure, f"{TITLES.get(task, task.capitalize())} decodability by RVQ layer")
    whisker = f"{100 * confidence:g} % interval,\nbootstrap over {utterances} utterances"
    entries = {f"{codec.replace('_', ' ')} (D = {dims[codec]})": look for codec, look in looks.items()} | {
        whisker: {"marker": "|", "linestyle": "", "markersize": 9},
        "lookup (table read-out)": {"linestyle": ":", "linewidth": 0.9},
        "permuted codebook": {"marker": "x", "linestyle": "", "markersize": 3},
        "training mean" if task == "pitch" else "majority class": {"linestyle": (0, (8, 4)), "linewidth": 0.9},
    }
    title = "codec (D: effective dimension of its rows)"
    figure.legend(handles=keys(entries), loc="outside right upper", title=title, alignment="left", handlelength=3)
    return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame, looks: Looks) -> None:
    for codec, shift in beside(looks, SPREAD).items():
        part, look = rows[rows["codec"] == codec].sort_values("layer"), looks[codec]
        x, hue = part["layer"] + shift, look["color"]
        dots = (0, (1, 1.5)) if look["linestyle"] == "-" else (0, (1, 3))
        axes.plot(x, part["lookup"], color=hue, linewidth=0.9, linestyle=dots, zorder=1.5)
        axes.plot(x, part["permuted"], color=hue, marker="x", markersize=3, linestyle="", alpha=0.45, zorder=1.6)
        axes.vlines(x, part["low"], part["high"], color=hue, linewidth=1.2, zorder=2)
        axes.plot(x, part["value"], label=codec, zorder=2.5, **look)
    axes.axhline(rows["majority"].mean(), color=GREY, linewidth=0.9, linestyle=(0, (8, 4)), zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    axes.set_xlim(0.5, int(rows["layer"].max()) + 0.5)
