"""Maps of the codes of RVQ layers, their frames coloured by phone group, speaker and F0: a table, a figure a colour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_hex
from matplotlib.figure import Figure
from numpy.typing import NDArray

from phonoscope.data.phones import GROUPS, OTHER, phone_group
from phonoscope.drawing import HUES, new_figure, style
from phonoscope.geometry.maps import MOST, CodeMap
from phonoscope.report.figures import add_title, keys

PALETTE = (*HUES[:6], "#F0E442", "#7A3B1D")  # Okabe and Ito's hues, and brown
PALE = "#D4D4D4"
GROUP_HUES = {group: PALETTE[turn] for turn, group in zip((0, 5, 2, 3, 4, 1, 6), GROUPS, strict=True)}
GROUP_HUES |= {"silence": PALE, OTHER: "#8C8C8C"}
OTHERS = "other speakers"
COLUMNS = ("codec", "layer", "frames", "codes", "perplexity", "divergence", "trustworthiness")
PANEL_IN, HALF = 2.6, 0.54  # side of a panel, and half of that in a map's own units
NOTE = (
    f"A dot is a frame. Frames with the same code have the same vector: {MOST} at most are drawn, in a disc about its\n"
    "place; where in the disc means nothing. t-SNE keeps neighbours together: distances between islands, and their\n"
    "sizes, mean nothing. Trustworthiness: 1 if all neighbours in the map are neighbours in truth."
)


@dataclass(frozen=True)
class Panel:
    """Codes [frames] of one layer of one codec; `map` is None where too few codes are in use."""

    codec: str
    layer: int
    codes: NDArray[np.integer]
    map: CodeMap | None


def table(panels: Sequence[Panel]) -> pd.DataFrame:
    """A row a map: codec, layer, frames, codes, t-SNE's perplexity and divergence, trustworthiness."""
    rows = [
        (panel.codec, panel.layer, len(panel.codes), len(m.codes), m.perplexity, m.divergence, m.trustworthiness)
        for panel in panels
        if (m := panel.map)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def draw(
    panels: Sequence[Panel], frames: Mapping[str, pd.DataFrame], speakers: pd.Series[str], most: int
) -> Iterator[tuple[str, Figure]]:
    """The figures by name: phone, speaker and pitch.

    `frames` are those of each codec's panels: utterance, phone, f0_hz; `speakers` is by utterance. The `most` frequent
    speakers have a colour, the others are grey.
    """
    phones = {codec: rows["phone"].astype(object) for codec, rows in frames.items()}
    groups = {codec: [OTHER if name is None else phone_group(name) for name in row] for codec, row in phones.items()}
    yield "phone", draw_classes(panels, groups, GROUP_HUES, "Frames by phone group")
    named = {codec: rows["utterance"].map(speakers).astype(str) for codec, rows in frames.items()}
    top = list(pd.concat(list(named.values())).value_counts(sort=False).sort_index().nlargest(most).index)
    known = {codec: names.where(names.isin(top), OTHERS).tolist() for codec, names in named.items()}
    hues = dict(zip(sorted(top), PALETTE, strict=False)) | {OTHERS: PALE}
    yield "speaker", draw_classes(panels, known, hues, f"Frames of the {len(top)} most frequent speakers")
    f0_hz = {codec: rows["f0_hz"].to_numpy(dtype=np.float64) for codec, rows in frames.items()}
    yield "pitch", draw_values(panels, f0_hz, "Frames by F0 (unvoiced frames are grey)", "F0 (Hz)")


@style()
def draw_classes(
    panels: Sequence[Panel], labels: Mapping[str, Sequence[str]], hues: Mapping[str, str], title: str
) -> Figure:
    """Frames coloured by class: `labels` of each codec's frames, `hues` of all classes in the legend's order."""
    figure = _grid(panels, {codec: [hues[label] for label in row] for codec, row in labels.items()}, title)
    used = set().union(*labels.values())
    looks = {name: {"marker": "o", "linestyle": "", "color": hue} for name, hue in hues.items() if name in used}
    figure.legend(handles=keys(looks), loc="outside right upper")
    return figure


@style()
def draw_values(panels: Sequence[Panel], values: Mapping[str, NDArray[Any]], title: str, label: str) -> Figure:
    """Frames coloured by a value, over the 5th to 95th percentile of all; those without one (NaN) are pale."""
    every = np.concatenate(list(values.values()))
    low, high = np.nanpercentile(every, (5, 95)) if np.isfinite(every).any() else (0.0, 1.0)
    scale = ScalarMappable(Normalize(float(low), float(high)), "coolwarm")
    known = {codec: zip(scale.to_rgba(row), np.isfinite(row), strict=True) for codec, row in values.items()}
    hues = {codec: [to_hex(hue) if finite else PALE for hue, finite in row] for codec, row in known.items()}
    figure = _grid(panels, hues, title)
    figure.colorbar(scale, ax=figure.axes, extend="both", shrink=0.5, pad=0.02, label=label)
    return figure


def _grid(panels: Sequence[Panel], hues: Mapping[str, Sequence[Any]], title: str) -> Figure:
    """A panel a layer and codec; `hues` of each codec's frames."""
    codecs, layers = list(dict.fromkeys(panel.codec for panel in panels)), sorted({panel.layer for panel in panels})
    figure = new_figure(PANEL_IN * len(layers) + 1.6, (PANEL_IN + 0.25) * len(codecs) + 0.8)
    grid = figure.subplots(len(codecs), len(layers), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for panel in panels:
        _draw(grid[codecs.index(panel.codec), layers.index(panel.layer)], panel, np.array(hues[panel.codec]))
    add_title(figure, title)
    figure.supxlabel(NOTE, x=0.01, ha="left", fontsize=8)
    return figure


def _draw(axes: Axes, panel: Panel, hues: NDArray[Any]) -> None:
    name = f"{panel.codec.replace('_', ' ')}, layer {panel.layer}"
    if panel.map is None:
        axes.set_title(f"{name}: too few codes in use", loc="left")
        return
    trust = f"{len(panel.map.codes)} codes, trustworthiness {panel.map.trustworthiness:.2f}"
    axes.set_title(f"{name}\n{trust}", loc="left")
    drawn, places, radius = panel.map.place(panel.codes)
    order = np.argsort(hues[drawn] != PALE, kind="stable")  # pale ones under the others
    # dots of the disc's size in the map's own units: a panel's side is 2 HALF of them, and 72 points an inch
    diameter_pt = 2 * radius * PANEL_IN * 72 / (2 * HALF)
    axes.scatter(places[order, 0], places[order, 1], c=hues[drawn][order], s=diameter_pt**2, linewidths=0)
    axes.set(xlim=(-HALF, HALF), ylim=(-HALF, HALF), aspect="equal")
