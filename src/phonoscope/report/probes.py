"""Linear probes of all codecs: one table, the study's expectations judged, distillation, a figure a task."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from phonoscope.drawing import GREY, UNDISTILLED, codec_looks, new_figure, style
from phonoscope.errors import DataError
from phonoscope.probes.scores import paired_difference, paired_ratio
from phonoscope.report.figures import Looks, add_title, beside, keys
from phonoscope.report.markdown import markdown, number, page, with_interval
from phonoscope.report.verdict import Estimate, judge, verdict_frame, verdict_markdown
from phonoscope.stats import Interval, Scale, jackknife

if TYPE_CHECKING:
    from phonoscope.probes.store import TaskResult

CONTROLS = ("permuted", "lookup", "majority")
COLUMNS = ("codec", "layer", "task", "probe", "measure", "value", "low", "high", *CONTROLS, "converged")
RANK = "rank_"  # probes that may use some directions only, by their number
MEASURES = {"macro_f1": "macro-F1", "accuracy": "accuracy", "mae": "MAE", "r2": "R²"}
LABELS = {**MEASURES, "accuracy": "accuracy (share of frames)", "mae": "MAE in Hz (lower is better)"}
TITLES = {"pitch": "Pitch (F0 of voiced frames)"}
SPREAD = 0.36  # width over which a layer's codecs are set side by side, in layers
RATIO = 1.1  # a distilled codec's score over its undistilled version's that counts as a gain
PLATEAU, SHARP, LOW_R2 = 0.9, 2.0, 0.1
"""Bounds of the study's expectations: deep layers over the best one; layer 1 over the next; R2 that is low."""
DISTILLATION = ["codec", "task", "measure", "layer", "distilled", "undistilled", "ratio", "ratio_low", "ratio_high"]
DISTILLATION += ["difference", "difference_low", "difference_high"]
Results = Mapping[tuple[str, str], "TaskResult"]  # by codec and task


class Score(NamedTuple):
    """A layer's score with its interval, and the score of the constant answer."""

    layer: int
    estimate: Estimate
    majority: float


class Layers(NamedTuple):
    """Scores of a codec's layers on the same utterances, for intervals of anything that is computed from them."""

    values: NDArray[np.float64]  # [layers]
    left_out: NDArray[np.float64]  # without each utterance [utterances, layers]

    @classmethod
    def of(cls, result: TaskResult, measure: str) -> Layers:
        """The scores in one measure."""
        left_out = [each.without_each().row_scores()[measure] for each in result.statistics]
        return cls(np.array([each.scores()[measure] for each in result.statistics]), np.stack(left_out, axis=1))

    def estimate(
        self, of: Callable[[NDArray[np.float64]], NDArray[np.float64]], confidence: float, scale: Scale = "linear"
    ) -> Estimate:
        """A function of the layers' scores [..., layers] with its jackknife interval."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return Estimate(*jackknife(float(of(self.values)), of(self.left_out), confidence, scale))


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
    controls = rows.pivot(index=place, columns="probe", values="value").reindex(columns=list(CONTROLS))
    fitted = rows[(rows["probe"] == "linear") | rows["probe"].str.startswith(RANK)]
    return fitted.join(controls, on=place)


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


def verdicts(rows: pd.DataFrame, results: Results, distilled: pd.DataFrame, confidence: float) -> pd.DataFrame:
    """Claims about the probes, judged: claim, codec, layer, value, low, high, bound, verdict.

    The expectations are those of Denn and Aralikatti (2026), "Expected Results". Layers are compared on the same
    utterances; "best layer" is chosen anew without each of them. `rows` is from `table`, `distilled` from
    `distillation`.
    """
    expected, informed = [], []
    for (codec, task), result in results.items():
        measure = headline_measure(task)
        shown, name = scores(rows, codec, task, measure), f"{task} {MEASURES[measure]}"
        layers = Layers.of(result, measure)
        expected += [{**row, "codec": codec} for row in _expected(codec, task, name, layers, confidence)]
        top, constant = best(shown, measure), "training mean" if task == "pitch" else "majority class"
        claim = f"{name}: best layer above the {constant}"
        highest = layers.estimate(_highest, confidence, "unexplained" if task == "pitch" else "linear")
        informed.append(judge(claim, highest, top.majority, codec=codec, layer=top.layer))
    return verdict_frame([*_distilled(distilled), *expected, *informed], "codec", "layer")


def _expected(codec: str, task: str, name: str, layers: Layers, confidence: float) -> Iterator[dict[str, Any]]:
    """The study's expectations of EnCodec and SpeechTokenizer."""
    values = layers.values
    half, quarter = max(len(values) // 2, 1), -(-len(values) // 4)

    def row(
        claim: str,
        of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
        bound: float,
        place: int,
        scale: Scale = "linear",
        *,
        above: bool = True,
    ) -> dict[str, Any]:
        estimate = layers.estimate(of, confidence, scale)
        return judge(f"{name}: {claim}", estimate, bound, above=above, layer=place + 1)

    if (codec, task) == ("encodec", "phone"):
        if half > 1:
            rise = 1 + int(values[1:half].argmax())
            yield row("rises after layer 1", lambda v: _highest(v[..., 1:half]) - v[..., 0], 0.0, rise)
        deep = slice(half if half < len(values) else 0, None)
        claim = f"plateau (mean beyond layer {half} over the best layer)"
        yield row(claim, lambda v: v[..., deep].mean(axis=-1) / _highest(v), PLATEAU, int(values.argmax()), "log")
    if (codec, task) == ("speechtokenizer", "phone") and len(values) > 1:
        second = 1 + int(values[1:].argmax())
        claim = "sharp rise at layer 1 (over the best other layer)"
        yield row(claim, lambda v: v[..., 0] / _highest(v[..., 1:]), SHARP, second, "log")
    if task == "speaker" and codec in ("encodec", "speechtokenizer") and len(values) > quarter:
        late = quarter + int(values[quarter:].argmax())
        claim = f"stronger beyond layer {quarter} (best later layer minus best earlier one)"
        yield row(claim, lambda v: _highest(v[..., quarter:]) - _highest(v[..., :quarter]), 0.0, late)
    if task == "pitch" and codec in ("encodec", "speechtokenizer"):
        yield row("low in all layers", _highest, LOW_R2, int(values.argmax()), "unexplained", above=False)


def _highest(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values.max(axis=-1)


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


def distillation(results: Results, confidence: float) -> pd.DataFrame:
    """Scores of each layer of a distilled codec against its undistilled version, `<name>_undistilled`.

    Ratio and difference have paired intervals: both codecs are scored without the same utterances. R2 has no ratio
    (NaN), as it can be negative, nor has a score whose undistilled value is 0. Raises `DataError` if the codecs were
    probed on different utterances.
    """
    rows = []
    for (codec, task), first in results.items():
        second = results.get((codec + UNDISTILLED, task))
        if second is None:
            continue
        if first.utterances != second.utterances:
            raise DataError(f"{codec} and {codec}{UNDISTILLED} were probed on different utterances")
        for layer, (one, other) in enumerate(zip(first.statistics, second.statistics, strict=False), start=1):
            values, other_values = one.scores(), other.scores()
            for measure, value in values.items():
                row = {"codec": codec, "task": task, "layer": layer, "measure": measure}
                row |= {"distilled": value, "undistilled": other_values[measure]}
                row |= _columns_of("difference", paired_difference(one, other, measure, confidence))
                if measure != "r2" and value > 0 and other_values[measure] > 0:
                    row |= _columns_of("ratio", paired_ratio(one, other, measure, confidence))
                rows.append(row)
    return pd.DataFrame(rows, columns=DISTILLATION)


def _columns_of(name: str, interval: Interval) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))


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
def draw(rows: pd.DataFrame, task: str, *, dims: Mapping[str, int], confidence: float, utterances: int) -> Figure:
    """Two panels, one a measure; below them the scores of layer 1 against the number of directions that a probe uses.

    `rows` is from `table`, with at least one row of `task`. `dims` is each codec's effective dimension: the number of
    independent directions that its codebook rows span. It stands in the legend, since scores measure that too.
    """
    rows = rows[rows["task"] == task]
    ranked = bool(rows["probe"].str.startswith(RANK).any())
    measures, looks = rows["measure"].unique(), codec_looks(list(dict.fromkeys(rows["codec"])))
    figure = new_figure(10.5, 4.0 + 3.1 * ranked)
    panels = figure.subplots(1 + ranked, len(measures), sharey="col", squeeze=False)
    for column, measure in enumerate(measures):
        part = rows[rows["measure"] == measure]
        _draw_panel(panels[0, column], part[part["probe"] == "linear"], looks)
        panels[0, column].set(xlabel="RVQ layer", ylabel=LABELS[measure])
        if ranked:
            _draw_ranks(panels[1, column], part[part["layer"] == part["layer"].min()], looks, dims)
            panels[1, column].set(xlabel="directions that the probe uses, layer 1", ylabel=LABELS[measure])
    add_title(figure, f"{TITLES.get(task, task.capitalize())} decodability by RVQ layer")
    whisker = f"{100 * confidence:g} % interval,\njackknife over {utterances} utterances"
    entries = {f"{codec.replace('_', ' ')} (D = {dims[codec]})": look for codec, look in looks.items()} | {
        whisker: {"marker": "|", "linestyle": "", "markersize": 9},
        "lookup (table read-out)": {"linestyle": ":", "linewidth": 0.9},
        "permuted codebook": {"marker": "x", "linestyle": "", "markersize": 3},
        "training mean" if task == "pitch" else "majority class": {"linestyle": (0, (8, 4)), "linewidth": 0.9},
    }
    title = "codec (D: effective dimension of its rows)"
    figure.legend(handles=keys(entries), loc="outside right upper", title=title, alignment="left", handlelength=3)
    return figure


def _draw_ranks(axes: Axes, rows: pd.DataFrame, looks: Looks, dims: Mapping[str, int]) -> None:
    """Scores against the number of directions, on a log scale; the last point of a codec uses all of them."""
    ranked = rows[rows["probe"].str.startswith(RANK)]
    ranks = ranked["probe"].str.removeprefix(RANK).astype(int)
    last = max(int(ranks.max()), *(dims[codec] for codec in looks))
    for codec, look in looks.items():
        part = ranked[ranked["codec"] == codec].assign(rank=ranks).sort_values("rank")
        part = part[part["rank"] <= dims[codec]]
        whole = rows[(rows["codec"] == codec) & (rows["probe"] == "linear")].assign(rank=dims[codec])
        part = pd.concat([part, whole])
        axes.vlines(part["rank"], part["low"], part["high"], color=look["color"], linewidth=1.2, zorder=2)
        axes.plot(part["rank"], part["value"], label=codec, zorder=2.5, **look)
    ticks = [2**power for power in range(last.bit_length() + 1) if 2**power <= last]
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, map(str, ticks))
    axes.minorticks_off()


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
