"""Probes in depth of all codecs: a table, and figures of information, inputs, controls and confusions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from phonoscope.drawing import GREY, HUES, codec_looks, new_figure, style
from phonoscope.report.markdown import markdown, with_interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

INPUT_LOOKS = {
    "layer": ("one layer", HUES[0], "o"),
    "cumulative": ("sum of layers 1 to l", HUES[1], "s"),
    "latent": ("latent", HUES[2], ""),
    "untrained": ("one layer, untrained", HUES[4], "D"),
}
PROBE_LINES: Mapping[str, Any] = {"linear": "-", "mlp": (0, (3, 1.5))}
PROBE_NAMES = {"linear": "linear", "mlp": "MLP"}

MEASURES = {
    "accuracy": "accuracy",
    "macro_f1": "macro-F1",
    "selectivity": "selectivity",
    "mi_bits": "mutual information, bits",
    "mi_share": "mutual information, share of entropy",
    "mdl_bits": "online code, bits a frame",
    "mdl_compression": "compression",
}


def markdown_tables(scores: pd.DataFrame, classes: pd.DataFrame, *, confidence: float) -> str:
    """All scores, a table a task and split, and the F1 of every phone in layer 1; † marks a fit not converged."""
    parts = [f"# Probes in depth\n\n`value`: with its {confidence:.0%} interval; `null`: permuted labels."]
    for (task, split), rows in scores.groupby(["task", "split"], sort=False):
        shown = rows[["codec", "input", "layer", "probe", "measure"]].astype(str)
        shown["layer"] = shown["layer"].replace("0", "–")
        shown["measure"] = shown["measure"].map(lambda name: MEASURES.get(name, name))
        shown["measure"] += ["" if converged else " †" for converged in rows["converged"]]
        shown["value"] = [with_interval(*row) for row in rows[["value", "low", "high"]].itertuples(index=False)]
        shown["null"] = [f"{value:.3f}" if np.isfinite(value) else "" for value in rows["null"]]
        parts += [f"## {task}, held-out {split}", markdown(shown, text_columns=5)]
    first = classes[(classes["task"] == "phone") & (classes["input"] == "layer") & (classes["layer"] == 1)]
    if len(first):
        f1 = first.pivot_table(index=["class", "group"], columns="codec", values="f1", sort=False).map("{:.3f}".format)
        shown = f1.rename_axis(index={"class": "phone"}, columns=None).reset_index()
        parts += ["## F1 of each phone, layer 1", markdown(shown, text_columns=2)]
    return "\n\n".join(parts) + "\n"


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


def draw_information(table: pd.DataFrame) -> Figure | None:
    """Mutual information as a share of the labels' entropy: a heat map a codec, tasks by layers; None without any."""
    rows = table[(table["measure"] == "mi_share") & (table["input"] == "layer")]
    if rows.empty:
        return None
    codecs, tasks = _order(rows, "codec"), _order(rows, "task")
    top = max(float(rows["value"].max()), 0.01)
    with style():
        figure, panels = _grid(codecs, width_in=5.6, height_in=0.5 + 0.3 * len(tasks))
        image = None
        for axes, codec in zip(panels, codecs, strict=True):
            shares = rows[rows["codec"] == codec].pivot_table(index="task", columns="layer", values="value", sort=False)
            cells = shares.reindex(index=tasks, columns=sorted(shares.columns))
            image = _heat(axes, cells.to_numpy(), list(cells.columns), tasks, top)
            axes.set_title(codec, loc="left")
            axes.set_xlabel("RVQ layer")
        _colour_bar(figure, image, panels, "share of the labels' entropy")
        _title(figure, "Mutual information of codes and labels, its bias removed")
        return figure


def draw_inputs(table: pd.DataFrame) -> Figure | None:
    """Phone macro-F1 of every input, a panel a codec; None where no phone was probed."""
    rows = table[(table["task"] == "phone") & (table["split"] == "utterances") & (table["measure"] == "macro_f1")]
    if rows.empty:
        return None
    codecs = _order(rows, "codec")
    with style():
        figure, panels = _grid(codecs, width_in=5.2, height_in=2.7, sharey=True)
        for axes, codec in zip(panels, codecs, strict=True):
            _draw_inputs(axes, rows[rows["codec"] == codec])
            axes.set_title(codec, loc="left")
            axes.set_xlabel("RVQ layer l")
            axes.set_ylabel("phone macro-F1")
        panels[0].set_ylim(bottom=0)  # of all panels, so after the last
        shown = dict(zip(*panels[0].get_legend_handles_labels()[::-1], strict=True))
        figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=3)
        _title(figure, "Phones in one layer, in sums of layers, in the latent before quantization")
        return figure


def _draw_inputs(axes: Axes, rows: pd.DataFrame) -> None:
    layers = sorted(rows.loc[rows["layer"] > 0, "layer"].unique())
    for name, (label, hue, marker) in INPUT_LOOKS.items():
        for probe, line in PROBE_LINES.items():
            part = rows[(rows["input"] == name) & (rows["probe"] == probe)].sort_values("layer")
            look: dict[str, Any] = {"color": hue, "linestyle": line, "label": f"{label}, {PROBE_NAMES[probe]}"}
            if name == "latent":
                for value in part["value"]:
                    axes.axhline(value, linewidth=1.2, **look)
            elif len(part):
                face = hue if probe == "linear" else "white"
                axes.plot(part["layer"], part["value"], marker=marker, markersize=4, markerfacecolor=face, **look)
            if probe == "linear" and name != "latent":
                axes.vlines(part["layer"], part["low"], part["high"], color=hue, linewidth=1)
    nulls = rows[rows["probe"] == "linear"]
    axes.axhline(nulls["null"].mean(), color=GREY, linewidth=0.9, linestyle=(0, (1, 1.5)), label="permuted labels")
    axes.set_xticks(layers)


CONTROLS = (
    ("mi_bits", "table", "mutual information in bits"),
    ("mdl_compression", "linear", "compression by the online code"),
    ("selectivity", "linear", "selectivity of the linear probe"),
    ("selectivity", "mlp", "selectivity with one hidden layer"),
)


def draw_controls(table: pd.DataFrame) -> Figure | None:
    """Measures of phones on single layers: codecs as lines, crosses for permuted labels, faint for untrained codecs."""
    rows = table[(table["task"] == "phone") & (table["split"] == "utterances")]
    if not rows["measure"].isin([measure for measure, *_ in CONTROLS]).any():
        return None
    looks = codec_looks(_order(rows, "codec"))
    with style():
        figure = new_figure(11, 6.4)
        panels = figure.subplots(2, 2).ravel()
        for axes, (measure, probe, label) in zip(panels, CONTROLS, strict=True):
            part = rows[(rows["measure"] == measure) & (rows["probe"] == probe)]
            _draw_measure(axes, part, looks)
            axes.set_ylabel(label)
            axes.set_xlabel("RVQ layer")
        shown = dict(zip(*panels[0].get_legend_handles_labels()[::-1], strict=True))
        figure.legend(shown.values(), shown.keys(), loc="outside lower center", ncols=len(looks) + 2)
        _title(figure, "Phones in single layers: information in codes, and memorisation by probes")
        return figure


def _draw_measure(axes: Axes, rows: pd.DataFrame, looks: Mapping[str, Mapping[str, Any]]) -> None:
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


def draw_phones(confusion: pd.DataFrame, classes: pd.DataFrame, name: str, layer: int) -> Figure | None:
    """Confusions of phones by a linear probe, a heat map a codec, phones by group; None where the input is missing."""
    chosen = (confusion["task"] == "phone") & (confusion["input"] == name) & (confusion["layer"] == layer)
    pairs, known = confusion[chosen], classes[classes["task"] == "phone"]
    if pairs.empty:
        return None
    codecs, groups = _order(pairs, "codec"), known.drop_duplicates("class").set_index("class")["group"]
    phones = list(groups.index)
    edges = np.flatnonzero(groups.to_numpy()[1:] != groups.to_numpy()[:-1]) + 0.5
    with style():
        figure, panels = _grid(codecs, width_in=5.8, height_in=5.4)
        image = None
        for axes, codec in zip(panels, codecs, strict=True):
            cells = _shares(pairs[pairs["codec"] == codec], phones)
            image = _heat(axes, cells, phones, phones, 1.0, numbers=False)
            axes.tick_params(labelsize=5.5)
            axes.tick_params(axis="x", rotation=90)
            for edge in edges:
                axes.axhline(edge, color="0.6", linewidth=0.5)
                axes.axvline(edge, color="0.6", linewidth=0.5)
            axes.set_title(codec, loc="left")
            axes.set_xlabel("predicted phone, by group")
            axes.set_ylabel("phone")
        _colour_bar(figure, image, panels, "share of the phone's frames")
        _title(figure, f"Confusions of phones, {_describe(name, layer)}, linear probe")
        return figure


def draw_groups(confusion: pd.DataFrame, classes: pd.DataFrame, shown: Sequence[tuple[str, int]]) -> Figure | None:
    """Confusions of phones summed by group: codecs by the inputs `shown` (input, layer); None without any."""
    known = classes[classes["task"] == "phone"].drop_duplicates("class").set_index("class")["group"]
    phones = confusion[confusion["task"] == "phone"]
    shown = [(name, layer) for name, layer in shown if not _chosen(phones, name, layer).empty]
    if not shown:
        return None
    pairs = phones.assign(**{name: phones[name].map(known) for name in ("class", "predicted")})
    codecs, groups = _order(pairs, "codec"), list(dict.fromkeys(known))
    with style():
        figure = new_figure(1.0 + 3.0 * len(codecs), 0.8 + 2.7 * len(shown))
        panels = figure.subplots(len(shown), len(codecs), squeeze=False, sharex=True, sharey=True)
        image = None
        for line, (name, layer) in zip(panels, shown, strict=True):
            for axes, codec in zip(line, codecs, strict=True):
                part = _chosen(pairs, name, layer)
                image = _heat(axes, _shares(part[part["codec"] == codec], groups), groups, groups, 1.0)
                axes.tick_params(axis="x", rotation=60)
                axes.set_title(f"{codec}\n{_describe(name, layer)}", loc="left", fontsize=8)
        for axes in panels[:, 0]:
            axes.set_ylabel("phone's group")
        for axes in panels[-1]:
            axes.set_xlabel("predicted phone's group")
        _colour_bar(figure, image, list(panels.ravel()), "share of the group's frames")
        _title(figure, "Confusions of phones between groups, linear probe")
        return figure


def _chosen(rows: pd.DataFrame, name: str, layer: int) -> pd.DataFrame:
    return rows[(rows["input"] == name) & (rows["layer"] == layer)]


def _describe(name: str, layer: int) -> str:
    words = {"layer": f"layer {layer}", "cumulative": f"sum of layers 1 to {layer}", "latent": "latent"}
    return words.get(name, f"{name}, layer {layer}")


def _shares(pairs: pd.DataFrame, names: Sequence[str]) -> NDArray[Any]:
    """Frames by class and predicted class as shares of the class, [names, names]; 0 for a class without frames."""
    frames = pairs.groupby(["class", "predicted"])["frames"].sum().unstack(fill_value=0)
    counts = frames.reindex(index=list(names), columns=list(names), fill_value=0).to_numpy(np.float64)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)


def _order(rows: pd.DataFrame, column: str) -> list[str]:
    """Entries of a column in order of appearance."""
    return list(dict.fromkeys(rows[column]))


def _grid(
    names: Sequence[str], *, width_in: float, height_in: float, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel a name, two a line."""
    lines = -(-len(names) // 2)
    columns = min(len(names), 2)
    figure = new_figure(width_in * columns, 0.9 + height_in * lines)
    panels = list(figure.subplots(lines, columns, squeeze=False, sharey=sharey).ravel())
    for spare in panels[len(names) :]:
        spare.remove()
    return figure, panels[: len(names)]


def _heat(
    axes: Axes,
    cells: NDArray[Any],
    columns: Sequence[Any],
    rows: Sequence[Any],
    top: float,
    *,
    numbers: bool = True,
) -> Any:
    """A heat map from 0 to `top`, with numbers in percent or else in a scale that shows small shares; NaN is white."""
    from matplotlib.colors import PowerNorm

    norm = PowerNorm(1.0 if numbers else 0.5, vmin=0, vmax=top, clip=True)
    image = axes.imshow(cells, norm=norm, cmap="viridis", aspect="auto", interpolation="nearest")
    axes.set_xticks(range(len(columns)), [str(name) for name in columns])
    axes.set_yticks(range(len(rows)), [str(name) for name in rows])
    axes.grid(visible=False)
    for row, column in np.argwhere(np.isfinite(cells)) if numbers else ():
        value = float(cells[row, column])
        hue = "black" if value > 0.6 * top else "white"
        axes.text(column, row, f"{round(100 * value)}", ha="center", va="center", fontsize=7, color=hue)
    return image


def _colour_bar(figure: Figure, image: Any, panels: Sequence[Axes], label: str) -> None:
    figure.colorbar(image, ax=list(panels), label=label, shrink=0.8, fraction=0.03, format="{x:.0%}")


def _title(figure: Figure, text: str) -> None:
    figure.suptitle(text, x=0.01, ha="left", fontweight="bold")
