"""Clips of words in two or three dimensions, coloured by word: interactive pages, images, and an index of the pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from matplotlib.figure import Figure as Image
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from phonoscope.drawing import HUES, MARKERS, new_figure, png, style, write_html
from phonoscope.report.figures import add_title
from phonoscope.report.geometry import NO_WORDS, aliases
from phonoscope.report.markdown import number

METHODS = {"pca": ("PCA", "PC"), "tsne": ("t-SNE", "t-SNE")}  # names of a projection and of its axes
TSNE_CAUTION = "t-SNE keeps neighbours together, not distances: a silhouette on it is shown for comparison only."
SYMBOLS = ("circle", "diamond", "square", "cross", "x")  # plotly's shapes that exist in three dimensions too
AXES = {("pca", 2): ["pca_1", "pca_2"], ("pca", 3): ["pca_1", "pca_2", "pca_3"]}
AXES |= {("tsne", 2): ["tsne2_1", "tsne2_2"], ("tsne", 3): ["tsne3_1", "tsne3_2", "tsne3_3"]}
"""The columns of each projection."""
COMPLETE = "complete"
STYLE = "body{font-family:sans-serif;margin:2em} td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}"
SCRIPT = "../../plotly.min.js"  # relative to a page; one copy serves all pages
HOVER = "<b>%{customdata[0]}</b><br>speaker %{customdata[1]}<br>word %{customdata[2]}<extra></extra>"


@dataclass(frozen=True)
class Projection:
    """Where every clip lies in one picture.

    method: pca or tsne. coordinates: [n, 2] or [n, 3], a row a clip. note: explained variance or perplexity, and score.
    """

    method: str
    coordinates: NDArray[np.floating[Any]]
    note: str

    @property
    def dims(self) -> int:
        return self.coordinates.shape[1]

    @property
    def name(self) -> str:
        return f"{self.method}_{self.dims}d"

    @property
    def title(self) -> str:
        return f"{METHODS[self.method][0]} {self.dims}D ({self.note})"

    @property
    def axes(self) -> dict[str, str]:
        """The name of axis x, of y and, where there are three, of z."""
        return {axis: f"{METHODS[self.method][1]} {turn}" for turn, axis in enumerate("xyz"[: self.dims], start=1)}


class Group(NamedTuple):
    """The clips of one word. Words that share a hue differ in `turn`: how often all hues have been used before."""

    word: str
    hue: str
    turn: int
    rows: NDArray[np.intp]


def word_groups(clips: pd.DataFrame) -> list[Group]:
    """The clips by word, in alphabetical order."""
    labels = clips["word"].astype(str).to_numpy()
    return [
        Group(str(word), HUES[rank % len(HUES)], rank // len(HUES), np.flatnonzero(labels == word))
        for rank, word in enumerate(np.unique(labels))
    ]


def draw_interactive(projections: Sequence[Projection], clips: pd.DataFrame, *, title: str) -> go.Figure:
    """One picture, or several on a page of two columns, under one legend that shows and hides a word in all of them.

    `clips` has the projections' rows, with the columns utterance, speaker and word, which hovering over a point shows.
    """
    several, lines, columns = len(projections) > 1, (len(projections) + 1) // 2, min(2, len(projections))
    specs: list[Any] = [{"type": "xy" if each.dims == 2 else "scatter3d"} for each in projections]
    specs += [None] * (lines * columns - len(specs))
    grid = [specs[columns * line : columns * (line + 1)] for line in range(lines)]
    titles = [projection.title for projection in projections] if several else None
    figure = make_subplots(
        rows=lines, cols=columns, specs=grid, subplot_titles=titles, vertical_spacing=0.09, horizontal_spacing=0.06
    )
    for index, projection in enumerate(projections):
        place = {"row": index // 2 + 1, "col": index % 2 + 1}
        for trace in _traces(projection, clips, legend=index == 0, size=6 if several else 9):
            figure.add_trace(trace, **place)
        if projection.dims == 3:
            named = {f"{axis}axis": {"title": {"text": name}} for axis, name in projection.axes.items()}
            figure.update_scenes({**named, "aspectmode": "cube", "camera": {"eye": dict.fromkeys("xyz", 1.5)}}, **place)
        else:
            figure.update_xaxes(title_text=projection.axes["x"], **place)
            figure.update_yaxes(title_text=projection.axes["y"], **place)
    figure.for_each_yaxis(lambda axis: axis.update(scaleanchor=axis.anchor, scaleratio=1))
    heading = title if several else f"{title}: {projections[0].title}"
    figure.update_layout(
        title={"text": "<br>".join([heading, *(f"<sup>{line}</sup>" for line in _cautions(projections))])},
        width=1300 if several else 900,
        height=70 + (500 * lines if several else 630),
        margin={"t": 110},
        template="plotly_white",
        legend={"title": {"text": "word"}, "itemsizing": "constant"},
    )
    return figure


@style()
def draw_image(projections: Sequence[Projection], clips: pd.DataFrame, *, title: str) -> Image:
    """The same as `draw_interactive` as a matplotlib figure."""
    lines, columns = (len(projections) + 1) // 2, min(2, len(projections))
    figure = new_figure(1.6 + 4.4 * columns, 1.2 + 4.2 * lines)
    for index, projection in enumerate(projections, start=1):
        axes = figure.add_subplot(lines, columns, index, projection="3d" if projection.dims == 3 else None)
        _scatter(axes, projection, clips)
        if len(projections) > 1:
            axes.set_title(projection.title, loc="left")
    heading = fill(title, 60 * columns)
    add_title(figure, heading if len(projections) > 1 else f"{heading}\n{projections[0].title}")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    notes = "\n".join([*(fill(line, 70 * columns) for line in _cautions(projections)), "word"])
    figure.legend(handles, labels, loc="outside lower left", ncols=6, title=notes, alignment="left")
    return figure


def _traces(projection: Projection, clips: pd.DataFrame, *, legend: bool, size: int) -> Iterator[Any]:
    points = projection.coordinates.astype(np.float32)
    told = clips[["utterance", "speaker", "word"]].astype(str).to_numpy()
    flat = projection.dims == 2
    for word, hue, turn, rows in word_groups(clips):
        marker = {"color": hue, "symbol": SYMBOLS[turn % len(SYMBOLS)], "opacity": 0.75}
        marker |= {"size": size, "line": {"width": 0.5, "color": "white"}} if flat else {"size": size / 2}
        look = {"mode": "markers", "marker": marker, "name": word, "legendgroup": word, "showlegend": legend}
        places = dict(zip(projection.axes, points[rows].T, strict=True))
        shape = go.Scatter if flat else go.Scatter3d
        yield shape(customdata=told[rows].tolist(), hovertemplate=HOVER, **look, **places)


def _scatter(axes: Any, projection: Projection, clips: pd.DataFrame) -> None:
    look = {"s": 24 if len(clips) <= 200 else 11, "alpha": 0.75, "linewidths": 0}
    for word, hue, turn, rows in word_groups(clips):
        points, marker = projection.coordinates[rows].T, MARKERS[turn % len(MARKERS)]
        axes.scatter(*points, label=word, color=hue, marker=marker, **look)
    axes.set(**{f"{axis}label": name for axis, name in projection.axes.items()})
    if projection.dims == 3:
        axes.set_box_aspect(None, zoom=0.92)  # or the label of its third axis leaves the panel
        axes.locator_params(nbins=5)
        axes.zaxis.labelpad = 7
    else:
        axes.set_aspect("equal", adjustable="datalim")
        axes.grid(False)


def _cautions(projections: Sequence[Projection]) -> list[str]:
    return [TSNE_CAUTION] if any(projection.method == "tsne" for projection in projections) else []


class Pictures(NamedTuple):
    """One representation of one view of a codec's clips (utterance, speaker, word), drawn in all its projections."""

    codec: str
    view: str
    representation: str
    title: str
    clips: pd.DataFrame
    projections: list[Projection]

    @property
    def sheets(self) -> dict[str, list[Projection]]:
        """What stands on each page, by the end of its name: every projection alone, and all of them."""
        return {**{each.name: [each] for each in self.projections}, COMPLETE: self.projections}

    def page(self, kind: str) -> str:
        """Where one of `sheets` lies, relative to the folder of all codecs' figures."""
        return f"{self.codec}/{self.view}/{self.representation}_{kind}.html"


def codec_pictures(
    codec: str, table: pd.DataFrame, clips: pd.DataFrame, coordinates: pd.DataFrame, perplexity: int
) -> Iterator[Pictures]:
    """Every view and representation of a codec that has coordinates; a projection with a gap is left out.

    `table` is from `geometry.table`; `clips` has view, utterance, speaker, word, and `coordinates` view,
    representation, utterance and the columns of `AXES`. Of `perplexity`, t-SNE took at most n - 1.
    """
    same = aliases(table, codec)
    own = table[(table["codec"] == codec) & (table["against"] == "")]
    for (view, name), points in coordinates.groupby(["view", "representation"], sort=False):
        part = points.merge(clips[clips["view"] == view], on=["view", "utterance"], validate="one_to_one")
        scored = own[(own["view"] == view) & (own["representation"] == name)]
        also = "".join(f"; {alias} is the same up to scale" for alias, other in same.items() if other == name)
        ranked = scored.loc[scored["metric"] == "rank", "dims"]
        size = f" ({ranked.iloc[0]:,.0f} dimensions{also})" if len(ranked) else ""
        title = f"{codec}, {name}{size}, view {view}, {len(part)} clips"
        values: Any = scored.set_index(["metric", "label", "space"])["value"].to_dict()
        projections = [
            Projection(method, axes, _note(values, method, dims, min(perplexity, len(part) - 1)))
            for (method, dims), columns in AXES.items()
            if np.isfinite(axes := part[columns].to_numpy(dtype=np.float32)).all()
        ]
        if projections:
            yield Pictures(codec, str(view), str(name), title, part, projections)


def _note(values: Mapping[tuple[str, str, str], float], method: str, dims: int, perplexity: int) -> str:
    """Explained variance or perplexity, and the silhouette by word; `values` is by metric, label and space."""
    space, notes = f"{method}_{dims}", []
    if ("explained_variance", "", space) in values:
        notes.append(f"{100 * values['explained_variance', '', space]:.1f} % of the variance")
    if method == "tsne":
        notes.append(f"perplexity {perplexity}")
    if ("silhouette", "word", space) in values:
        notes.append(f"silhouette by word {number(values['silhouette', 'word', space], 2)}")
    return ", ".join(notes)


def write_pages(pictures: Pictures, folder: Path, overview: Path) -> None:
    """Write a page and an image of each sheet to `folder`; the image of the complete sheet goes to `overview`."""
    for kind, projections in pictures.sheets.items():
        page = folder / pictures.page(kind)
        write_html(page, draw_interactive(projections, pictures.clips, title=pictures.title), script=SCRIPT)
        image = page.with_suffix(".png")
        if kind == COMPLETE:
            image = overview / f"{pictures.codec}_{pictures.view}_{pictures.representation}.png"
        image.write_bytes(png(draw_image(projections, pictures.clips, title=pictures.title)))


def figure_index(drawn: Sequence[Pictures], table: pd.DataFrame) -> str:
    """An HTML page that links to all pages, and names the representations that coincide."""
    rows = []
    for each in drawn:
        links = [f'<a href="{escape(each.page(kind))}">{escape(kind)}</a>' for kind in each.sheets]
        rows.append((each.codec, each.view, each.representation, " · ".join(links)))
    for codec in dict.fromkeys(table["codec"]):
        for alias, name in aliases(table, codec).items():
            rows.append((codec, "all", alias, f"as {escape(name)}, up to a factor"))
    note = f"Isolated words, a point a clip. {TSNE_CAUTION}" if drawn else NO_WORDS
    head = "".join(f"<th>{name}</th>" for name in ("codec", "view", "representation", "figures"))
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in cells) + f"<td>{last}</td>" for *cells, last in rows]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Codec geometry</title>'
        f"<style>{STYLE}</style></head><body>\n<h1>Codec geometry</h1>\n<p>{escape(note)}</p>\n"
        f"<table>\n<tr>{head}</tr>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table>\n</body></html>\n"
    )
