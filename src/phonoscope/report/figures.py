"""One figure a task: every codec's scores by RVQ layer, with intervals and references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from phonoscope.drawing import GREY, codec_looks, new_figure, style
from phonoscope.report.comparison import MATCHED, TASKS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLES = {
    "phone": "Phone decodability by RVQ layer",
    "speaker": "Speaker decodability by RVQ layer",
    "pitch": "Pitch (F0 of voiced frames) decodability by RVQ layer",
}
LABELS = {
    "macro_f1": "macro-F1",
    "accuracy": "accuracy (share of frames)",
    "mae_hz": "MAE in Hz (lower is better)",
    "r2": "R²",
}
SPREAD = 0.36  # width over which a layer's codecs are set side by side, in layers


def draw_task(
    table: pd.DataFrame,
    task: str,
    *,
    dims: Mapping[str, int] | None = None,
    matched_dims: int | None = None,
    confidence: float = 0.95,
) -> Figure:
    """Two panels, one a metric; below them, where the table has them, the probes on rows of matched dimension.

    `table` is `comparison.combine`'s, with at least one row of `task`. `dims` gives each codec's effective dimension:
    the number of independent directions its codebook rows span. It stands in the legend, as scores of codecs whose
    rows differ in dimension measure that too; `matched_dims` is what the second line of panels reduces them to.
    """
    rows = table[table["task"] == task]
    codecs = list(dict.fromkeys(rows["codec"]))
    suffixes = [suffix for suffix in ("", MATCHED) if (rows["metric"] == TASKS[task][0] + suffix).any()]
    looks = codec_looks(codecs)
    reduced = f"rows reduced by PCA to {matched_dims or 'the same number of'} dimensions"
    with style():
        figure = new_figure(10.5, 0.9 + 3.1 * len(suffixes))
        panels = figure.subplots(len(suffixes), 2, sharex=True, sharey="col", squeeze=False)
        for line, suffix in zip(panels, suffixes, strict=True):
            for axes, metric in zip(line, TASKS[task], strict=True):
                _draw_panel(axes, rows[rows["metric"] == metric + suffix], looks)
                axes.set_ylabel(LABELS[metric])
                axes.set_title(reduced if suffix else "rows as they are", loc="left")
        for axes in panels[-1]:
            axes.set_xlabel("RVQ layer")
        figure.suptitle(TITLES[task], x=0.01, ha="left", fontweight="bold")
        _add_legend(figure, looks, dims or {}, task, confidence)
        return figure


def _draw_panel(axes: Axes, rows: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator

    step = SPREAD / max(len(looks) - 1, 1)
    for rank, (codec, look) in enumerate(looks.items()):
        own = rows[rows["codec"] == codec].sort_values("layer")
        x = own["layer"] + step * rank - SPREAD / 2
        dots = (0, (1, 1.5)) if look["linestyle"] == "-" else (0, (1, 3))
        axes.plot(x, own["lookup"], color=look["color"], linewidth=0.9, linestyle=dots, zorder=1.5)
        axes.plot(
            x, own["permuted"], color=look["color"], marker="x", markersize=3, linestyle="", alpha=0.45, zorder=1.6
        )
        axes.vlines(x, own["ci_low"], own["ci_high"], color=look["color"], linewidth=1.2, zorder=2)
        axes.plot(x, own["value"], label=codec, zorder=2.5, **look)
    axes.axhline(rows["majority"].mean(), color=GREY, linewidth=0.9, linestyle=(0, (8, 4)), zorder=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    axes.set_xlim(0.5, int(rows["layer"].max()) + 0.5)


def _add_legend(
    figure: Figure, looks: Mapping[str, Mapping[str, Any]], dims: Mapping[str, int], task: str, confidence: float
) -> None:
    from matplotlib.lines import Line2D

    def key(label: str, **look: Any) -> Line2D:
        return Line2D([], [], label=label, **look)

    def name(codec: str) -> str:
        return codec.replace("_", " ") + (f" (D = {dims[codec]})" if codec in dims else "")

    constant = "training mean" if task == "pitch" else "majority class"
    keys = [
        *(key(name(codec), **look) for codec, look in looks.items()),
        key(f"{100 * confidence:g} % interval", color=GREY, marker="|", linestyle="", markersize=9),
        key("lookup (table read-out)", color=GREY, linestyle=":", linewidth=0.9),
        key("permuted codebook", color=GREY, marker="x", linestyle="", markersize=3),
        key(constant, color=GREY, linestyle=(0, (8, 4)), linewidth=0.9),
    ]
    title = "codec (D: effective dimension of its rows)" if dims else "codec"
    figure.legend(handles=keys, loc="outside right upper", title=title, alignment="left", handlelength=3)
