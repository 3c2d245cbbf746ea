"""What the figures of several reports share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from phonoscope.drawing import GREY, new_figure

Looks = Mapping[str, Mapping[str, Any]]
"""Line properties by name, those of `drawing.codec_looks` for codecs."""


def panel_row(count: int, width_in: float, height_in: float, **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels of this size side by side; `shared` goes to matplotlib's `subplots`."""
    figure = new_figure(width_in * count, height_in)
    return figure, list(figure.subplots(1, count, squeeze=False, **shared)[0])


def add_title(figure: Figure, text: str, **look: Any) -> None:
    """A bold title above all panels, aligned left."""
    figure.suptitle(text, x=0.01, ha="left", fontweight="bold", **look)


def keys(looks: Looks) -> list[Line2D]:
    """Entries of a legend by label; grey where a look names no colour."""
    return [Line2D([], [], label=label, **{"color": GREY, **look}) for label, look in looks.items()]


def share_legend(figure: Figure, panels: Iterable[Axes], columns: int) -> None:
    """One legend below the panels that has each of their labels once."""
    entries = [entry for axes in panels for entry in zip(*axes.get_legend_handles_labels(), strict=True)]
    handles = {label: handle for handle, label in entries}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)


def grid_across(axes: Axes) -> None:
    """Grid lines for values along x, none along y."""
    axes.grid(axis="x", color="0.92")
    axes.grid(visible=False, axis="y")


def beside(names: Iterable[str], width: float) -> dict[str, float]:
    """How far each name's marks stand from the middle of a tick, all names within `width`."""
    names = list(names)
    step = width / max(len(names) - 1, 1)
    return {name: step * rank - width / 2 * (len(names) > 1) for rank, name in enumerate(names)}
