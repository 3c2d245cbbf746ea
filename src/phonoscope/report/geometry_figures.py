"""How well words, speakers and sexes cluster: every representation and codec side by side, and RVQ layers alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from phonoscope.drawing import GREY, codec_looks, new_figure, style
from phonoscope.report.geometry_table import LAYER, SCORES, names, representations

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SPREAD = 0.5  # width over which a representation's codecs are set side by side
LABELS = {
    "silhouette": "mean silhouette",
    "map_at_r": "mAP@R",
    "nn_accuracy": "accuracy",
    "probe_accuracy": "accuracy",
}
CHANCE = {"probe_accuracy": "chance"}
"""The null level of a score that no permutation gives; of the others it is <score>_null."""


def draw_scores(table: pd.DataFrame, view: str, *, confidence: float = 0.95) -> Figure:
    """A panel a score of `SCORES` in the full space: representations along x, codecs side by side, null levels in grey.

    `table` is `combine_geometry`'s, with at least one row of `view`.
    """
    rows = _rows(table, view)
    kept = representations(rows)
    return _draw(rows, kept, [name.replace("_", "\n", 1) for name in kept], view, confidence, "representation")


def draw_layers(table: pd.DataFrame, view: str, *, confidence: float = 0.95) -> Figure | None:
    """The same of each RVQ layer alone; None where no layer was scored."""
    rows = _rows(table, view)
    kept = representations(rows, layers=True)
    if not kept:
        return None
    kept.sort(key=lambda name: int(name.removeprefix(LAYER)))
    return _draw(rows, kept, [name.removeprefix(LAYER) for name in kept], view, confidence, "RVQ layer alone")


def _rows(table: pd.DataFrame, view: str) -> pd.DataFrame:
    return table[(table["view"] == view) & (table["space"] == "full") & (table["against"] == "")]


def _draw(
    rows: pd.DataFrame, kept: Sequence[str], ticks: Sequence[str], view: str, confidence: float, along: str
) -> Figure:
    looks = codec_looks(names(rows, "codec"))
    clips = int(rows.loc[rows["metric"].isin([metric for metric, _ in SCORES]), "n"].max())
    with style():
        figure = new_figure(13, 7.2)
        panels = figure.subplots(2, 3, sharex=True).ravel()
        for axes, ((metric, label), title) in zip(panels, SCORES.items(), strict=True):
            own = rows[rows["label"] == label]
            _draw_panel(axes, own[own["metric"] == metric], kept, looks, joined=along != "representation")
            _draw_null(axes, own[own["metric"] == CHANCE.get(metric, f"{metric}_null")], kept, looks)
            axes.use_sticky_edges = False  # or the lowest null stands on the frame
            axes.set_title(title, loc="left")
            axes.set_ylabel(LABELS[metric])
        for axes in panels:
            axes.set_xticks(range(len(kept)), ticks, fontsize="x-small")
            axes.set_xlim(-0.5, len(kept) - 0.5)
        for axes in panels[3:]:
            axes.set_xlabel(along)
        figure.suptitle(
            f"Do words cluster? View {view}, {clips} clips, by {along}", x=0.01, ha="left", fontweight="bold"
        )
        _add_legend(figure, looks, confidence)
        return figure


def _places(kept: Sequence[str], looks: Mapping[str, Any], codec: str) -> dict[str, float]:
    """Where on the x axis a codec's representations stand."""
    step = SPREAD / max(len(looks) - 1, 1)
    shift = step * list(looks).index(codec) - SPREAD / 2 * (len(looks) > 1)
    return {name: place + shift for place, name in enumerate(kept)}


def _draw_panel(
    axes: Axes, rows: pd.DataFrame, kept: Sequence[str], looks: Mapping[str, Mapping[str, Any]], *, joined: bool
) -> None:
    for codec, look in looks.items():
        places = _places(kept, looks, codec)
        own = rows[(rows["codec"] == codec) & rows["representation"].isin(kept)]
        x = own["representation"].map(places).astype(float)
        axes.vlines(x, own["ci_low"], own["ci_high"], color=look["color"], linewidth=1.2, zorder=2)
        line = look if joined else {**look, "linestyle": ""}
        axes.plot(x.to_numpy(), own["value"].to_numpy(), label=codec, zorder=2.5, **line)


def _draw_null(axes: Axes, rows: pd.DataFrame, kept: Sequence[str], looks: Mapping[str, Any]) -> None:
    """A short grey line under each score, and a grey bar where the null has an interval."""
    half = SPREAD / (2 * max(len(looks), 2))
    for codec in looks:
        own = rows[(rows["codec"] == codec) & rows["representation"].isin(kept)]
        x = own["representation"].map(_places(kept, looks, codec)).to_numpy(dtype=float)
        axes.hlines(own["value"], x - half, x + half, color=GREY, linewidth=1.3, zorder=1.6)
        spread = np.isfinite(own["ci_low"].to_numpy(dtype=float))
        axes.bar(
            x[spread],
            (own["ci_high"] - own["ci_low"]).to_numpy()[spread],
            bottom=own["ci_low"].to_numpy()[spread],
            width=2 * half,
            color="0.85",
            zorder=1.5,
        )


def _add_legend(figure: Figure, looks: Mapping[str, Mapping[str, Any]], confidence: float) -> None:
    from matplotlib.lines import Line2D

    keys = [Line2D([], [], label=codec.replace("_", " "), **look) for codec, look in looks.items()]
    interval = f"{100 * confidence:g} % interval, resampled by speaker"
    keys += [
        Line2D([], [], label=interval, color=GREY, marker="|", linestyle="", markersize=9),
        Line2D([], [], label="null: labels permuted, random ranking, most frequent word", color=GREY, linewidth=1.3),
    ]
    figure.legend(handles=keys, loc="outside lower left", ncols=3, handlelength=3)
