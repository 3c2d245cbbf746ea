"""Probes in depth of all codecs: a table, and figures of information, inputs, controls and confusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from phonoscope.drawing import GREY, HUES, codec_looks, new_figure, style
from phonoscope.report.figures import Looks, add_title, share_legend
from phonoscope.report.markdown import intervals, markdown, page

INPUT_LOOKS = {
    "layer": ("one layer", HUES[0], "o"),
    "cumulative": ("sum of layers 1 to l", HUES[1], "s"),
    "latent": ("latent", HUES[2], ""),
    "untrained": ("one layer, untrained", HUES[4], "D"),
}
PROBES: Mapping[str, Any] = {"linear": ("linear", "-"), "mlp": ("MLP", (0, (3, 1.5)))}  # name, line
CONTROLS = (
    ("mi_held_out_bits", "table", "bits saved on held-out frames"),
    ("mdl_compression", "linear", "compression by the online code"),
    ("selectivity", "linear", "selectivity of the linear probe"),
    ("selectivity", "mlp", "selectivity with one hidden layer"),
)
MEASURES = {  # names in the table, where they differ
    "macro_f1": "macro-F1",
    "mi_corrected_bits": "mutual information less that of permuted segments, bits",
    "mi_held_out_bits": "mutual information, lower bound on held-out frames, bits",
    "mi_held_out_share": "the same as a share of entropy",
    "mdl_bits": "online code, bits a frame",
    "mdl_compression": "compression",
}


def markdown_tables(scores: pd.DataFrame, classes: pd.DataFrame, *, confidence: float) -> str:
    """All scores, a table a task and split, and the F1 of every phone in layer 1; † marks a fit not converged."""
    parts = [f"# Probes in depth\n\n`value`: with its {confidence:.0%} interval; `null`: permuted labels."]
    for (task, split), rows in scores.groupby(["task", "split"], sort=False):
        shown = rows[["codec", "input", "layer", "probe", "measure"]].astype(str)
        shown["layer"] = shown["layer"].replace("0", "–")
        shown["measure"] = shown["measure"].replace(MEASURES) + np.where(rows["converged"].astype(bool), "", " †")
        shown["value"] = intervals(rows)
        shown["null"] = rows["null"].map("{:.3f}".format, na_action="ignore")
        parts += [f"## {task}, held-out {split}", markdown(shown, text_columns=5)]
    first = classes[(classes["task"] == "phone") & (classes["input"] == "layer") & (classes["layer"] == 1)]
    if len(first):
        f1 = first.pivot_table(index=["class", "group"], columns="codec", values="f1", sort=False).map("{:.3f}".format)
        shown = f1.rename_axis(index={"class": "phone"}, columns=None).reset_index()
        parts += ["## F1 of each phone, layer 1", markdown(shown, text_columns=2)]
    return page(*parts)


def draw(scores: pd.DataFrame, classes: pd.DataFrame, confusion: pd.DataFrame) -> dict[str, Figure | None]:
    """All figures by name; None where the tables have nothing to show. Each table holds all codecs."""
    single = confusion.loc[confusion["input"] == "layer", "layer"]
    summed = confusion.loc[confusion["input"] == "cumulative", "layer"]
    first, last = int(single.min()) if len(single) else 1, int(summed.max()) if len(summed) else 1
    return {
        "information": draw_information(scores),
        "inputs": draw_inputs(scores),
        "controls": draw_controls(scores),
        "phones_layer": draw_phones(confusion, classes, "layer", first),
        "phones_latent": draw_phones(confusion, classes, "latent", 0),
        "groups": draw_groups(confusion, classes, [("layer", first), ("cumulative", last), ("latent", 0)]),
    }


@style()
def draw_information(table: pd.DataFrame) -> Figure | None:
    """Mutual information as a share of the labels' entropy: a heat map a codec, tasks by layers; None without any."""
    rows = table[(table["measure"] == "mi_held_out_share") & (table["input"] == "layer")]
    if rows.empty:
        return None
    tasks, top = rows["task"].unique(), max(float(rows["value"].max()), 0.01)
    figure, panels = _codec_panels(rows, 5.6, 0.5 + 0.3 * len(tasks), xlabel="RVQ layer")
    for codec, axes in panels.items():
        shares = rows[rows["codec"] == codec].pivot_table(index="task", columns="layer", values="value", sort=False)
        _heat(axes, shares.reindex(index=tasks).sort_index(axis=1), top)
    _colour_bar(figure, "share of the labels' entropy")
    add_title(figure, "Mutual information of codes and labels, lower bound on held-out frames")
    return figure


@style()
def draw_inputs(table: pd.DataFrame) -> Figure | None:
    """Phone macro-F1 of every input, a panel a codec; None where no phone was probed."""
    rows = table[(table["task"] == "phone") & (table["split"] == "utterances") & (table["measure"] == "macro_f1")]
    if rows.empty:
        return None
    figure, panels = _codec_panels(rows, 5.2, 2.7, xlabel="RVQ layer l", ylabel="phone macro-F1", sharey=True)
    for codec, axes in panels.items():
        _draw_inputs(axes, rows[rows["codec"] == codec])
    figure.axes[0].set_ylim(bottom=0)  # of all panels, so after the last
    share_legend(figure, figure.axes[:1], 3)
    add_title(figure, "Phones in one layer, in sums of layers, in the latent before quantization")
    return figure


def _draw_inputs(axes: Axes, rows: pd.DataFrame) -> None:
    for name, (label, hue, marker) in INPUT_LOOKS.items():
        for probe, (title, line) in PROBES.items():
            part = rows[(rows["input"] == name) & (rows["probe"] == probe)].sort_values("layer")
            look: dict[str, Any] = {"color": hue, "linestyle": line, "label": f"{label}, {title}"}
            if name == "latent":
                for value in part["value"]:
                    axes.axhline(value, linewidth=1.2, **look)
            elif len(part):
                face = hue if probe == "linear" else "white"
                axes.plot(part["layer"], part["value"], marker=marker, markersize=4, markerfacecolor=face, **look)
                if probe == "linear":
                    axes.vlines(part["layer"], part["low"], part["high"], color=hue, linewidth=1)
    null = rows.loc[rows["probe"] == "linear", "null"].mean()
    axes.axhline(null, color=GREY, linewidth=0.9, linestyle=(0, (1, 1.5)), label="permuted labels")
    axes.set_xticks(sorted(rows.loc[rows["layer"] > 0, "layer"].unique()))


@style()
def draw_controls(table: pd.DataFrame) -> Figure | None:
    """Measures of phones on single layers: codecs as lines, crosses for permuted labels, faint for untrained codecs."""
    rows = table[(table["task"] == "phone") & (table["split"] == "utterances")]
    if not rows["measure"].isin([measure for measure, *_ in CONTROLS]).any():
        return None
    looks, figure = codec_looks(list(dict.fromkeys(rows["codec"]))), new_figure(11, 6.4)
    panels = figure.subplots(2, 2).ravel()
    for axes, (measure, probe, label) in zip(panels, CONTROLS, strict=True):
        _draw_measure(axes, rows[(rows["measure"] == measure) & (rows["probe"] == probe)], looks)
        axes.set(xlabel="RVQ layer", ylabel=label)
    share_legend(figure, panels[:1], len(looks) + 2)
    add_title(figure, "Phones in single layers: information in codes, and memorisation by probes")
    return figure


def _draw_measure(axes: Axes, rows: pd.DataFrame, looks: Looks) -> None:
    for codec, look in looks.items():
        part = rows[rows["codec"] == codec].sort_values("layer")
        trained, untrained = (part[part["input"] == name] for name in ("layer", "untrained"))
        axes.plot(trained["layer"], trained["value"], label=codec, **look)
        axes.vlines(trained["layer"], trained["low"], trained["high"], color=look["color"], linewidth=1)
        axes.plot(untrained["layer"], untrained["value"], **{**look, "alpha": 0.3, "linewidth": 1.0})
        axes.plot(trained["layer"], trained["null"], color=look["color"], marker="x", markersize=4, linestyle="")
    axes.plot([], [], color="0.5", marker="x", linestyle="", label="permuted labels")
    axes.plot([], [], color="0.5", alpha=0.3, label="untrained")
    axes.set_xticks(sorted(rows["layer"].unique()))


@style()
def draw_phones(confusion: pd.DataFrame, classes: pd.DataFrame, name: str, layer: int) -> Figure | None:
    """Confusions of phones by a linear probe, a heat map a codec, phones by group; None where the input is missing."""
    pairs = _phones(confusion, name, layer)
    if pairs.empty:
        return None
    groups = _groups(classes)
    edges = np.flatnonzero(groups.to_numpy()[1:] != groups.to_numpy()[:-1]) + 0.5
    figure, panels = _codec_panels(pairs, 5.8, 5.4, xlabel="predicted phone, by group", ylabel="phone")
    for codec, axes in panels.items():
        _heat(axes, _shares(pairs[pairs["codec"] == codec], list(groups.index)), 1.0, numbers=False)
        axes.tick_params(labelsize=5.5)
        axes.tick_params(axis="x", rotation=90)
        for edge in edges:
            axes.axhline(edge, color="0.6", linewidth=0.5)
            axes.axvline(edge, color="0.6", linewidth=0.5)
    _colour_bar(figure, "share of the phone's frames")
    add_title(figure, f"Confusions of phones, {_describe(name, layer)}, linear probe")
    return figure


@style()
def draw_groups(confusion: pd.DataFrame, classes: pd.DataFrame, shown: Sequence[tuple[str, int]]) -> Figure | None:
    """Confusions of phones summed by group: codecs by the inputs `shown` (input, layer); None without any."""
    inputs = {place: pairs for place in shown if len(pairs := _phones(confusion, *place))}
    if not inputs:
        return None
    codecs, known = list(dict.fromkeys(confusion.loc[confusion["task"] == "phone", "codec"])), _groups(classes)
    figure = new_figure(1.0 + 3.0 * len(codecs), 0.8 + 2.7 * len(inputs))
    panels = figure.subplots(len(inputs), len(codecs), squeeze=False, sharex=True, sharey=True)
    for line, (place, pairs) in zip(panels, inputs.items(), strict=True):
        grouped = pairs.assign(**{name: pairs[name].map(known) for name in ("class", "predicted")})
        for axes, codec in zip(line, codecs, strict=True):
            _heat(axes, _shares(grouped[grouped["codec"] == codec], list(dict.fromkeys(known))), 1.0)
            axes.tick_params(axis="x", rotation=60)
            axes.set_title(f"{codec}\n{_describe(*place)}", loc="left", fontsize=8)
        line[0].set_ylabel("phone's group")
    for axes in panels[-1]:
        axes.set_xlabel("predicted phone's group")
    _colour_bar(figure, "share of the group's frames")
    add_title(figure, "Confusions of phones between groups, linear probe")
    return figure


def _phones(confusion: pd.DataFrame, name: str, layer: int) -> pd.DataFrame:
    return confusion[(confusion["task"] == "phone") & (confusion["input"] == name) & (confusion["layer"] == layer)]


def _groups(classes: pd.DataFrame) -> pd.Series[str]:
    """The group of each phone, phones of a group side by side."""
    return classes[classes["task"] == "phone"].drop_duplicates("class").set_index("class")["group"]


def _describe(name: str, layer: int) -> str:
    return {"layer": f"layer {layer}", "cumulative": f"sum of layers 1 to {layer}", "latent": "latent"}[name]


def _shares(pairs: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """Frames by class and predicted class as shares of the class, [names, names]; 0 for a class without frames."""
    frames = pairs.groupby(["class", "predicted"])["frames"].sum().unstack(fill_value=0)
    counts = frames.reindex(index=names, columns=names, fill_value=0)
    return counts.div(counts.sum(axis=1).clip(lower=1), axis=0)


def _codec_panels(
    rows: pd.DataFrame, width_in: float, height_in: float, *, sharey: bool = False, **labels: str
) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a panel a codec, two a line; each has its title and these labels."""
    codecs = rows["codec"].unique()
    lines, columns = -(-len(codecs) // 2), min(len(codecs), 2)
    figure = new_figure(width_in * columns, 0.9 + height_in * lines)
    grid = figure.subplots(lines, columns, squeeze=False, sharey=sharey).ravel()
    for spare in grid[len(codecs) :]:
        spare.remove()
    for codec, axes in zip(codecs, grid, strict=False):
        axes.set_title(codec, loc="left")
        axes.set(**labels)
    return figure, dict(zip(codecs, grid, strict=False))


def _heat(axes: Axes, cells: pd.DataFrame, top: float, *, numbers: bool = True) -> None:
    """A heat map from 0 to `top`, with numbers in percent or else in a scale that shows small shares; NaN is white."""
    norm = PowerNorm(1.0 if numbers else 0.5, vmin=0, vmax=top, clip=True)
    axes.imshow(cells, norm=norm, cmap="viridis", aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(cells.columns)), cells.columns.astype(str))
    axes.set_yticks(range(len(cells)), cells.index.astype(str))
    axes.grid(visible=False)
    values = cells.to_numpy()
    for row, column in np.argwhere(np.isfinite(values)) if numbers else ():
        hue = "black" if values[row, column] > 0.6 * top else "white"
        axes.text(column, row, f"{round(100 * values[row, column])}", ha="center", va="center", fontsize=7, color=hue)


def _colour_bar(figure: Figure, label: str) -> None:
    """One bar for all panels, which share a scale."""
    figure.colorbar(figure.axes[-1].images[0], ax=figure.axes, label=label, shrink=0.8, fraction=0.03, format="{x:.0%}")
