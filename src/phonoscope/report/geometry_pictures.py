"""What is drawn of a codec's clips: each representation's projections, with what a reader has to know beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from phonoscope.report.comparison import fixed
from phonoscope.report.gallery import gallery
from phonoscope.report.geometry_answer import NO_WORDS
from phonoscope.report.geometry_table import aliases, look_up, names
from phonoscope.report.projections import TSNE_CAUTION, Projection

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

AXES = {
    ("pca", 2): ("pca_1", "pca_2"),
    ("pca", 3): ("pca_1", "pca_2", "pca_3"),
    ("tsne", 2): ("tsne2_1", "tsne2_2"),
    ("tsne", 3): ("tsne3_1", "tsne3_2", "tsne3_3"),
}
"""The columns of each projection."""
COMPLETE = "complete"


class Pictures(NamedTuple):
    """One representation of one view of a codec's clips, to be drawn in all its projections."""

    codec: str
    view: str
    representation: str
    title: str
    clips: pd.DataFrame
    """[n]: utterance, speaker, word."""
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
    """Every view and representation of a codec that has coordinates.

    Args:
        table: `geometry_table.combine_geometry`'s.
        clips: view, utterance, speaker, word.
        coordinates: view, representation, utterance and the columns of `AXES`; a projection with a gap is left out.
        perplexity: as configured; t-SNE took at most n - 1.
    """
    same = aliases(table, codec)
    for keys, points in coordinates.groupby(["view", "representation"], sort=False):
        view, name = map(str, keys)
        own = points.merge(clips[clips["view"] == view], on=["view", "utterance"], validate="one_to_one")
        rank = look_up(table, codec, view, name, "rank", label="")
        also = "".join(f"; {alias} is the same up to scale" for alias, other in same.items() if other == name)
        size = f" ({rank.dims:,} dimensions{also})" if rank else ""
        title = f"{codec}, {name}{size}, view {view}, {len(own)} clips"
        notes = {"perplexity": min(perplexity, len(own) - 1)}
        projections = [
            Projection(method, axes, _note(table, (codec, view, name), method, axes.shape[1], **notes))
            for method, axes in _axes(own)
        ]
        if projections:
            yield Pictures(codec, view, name, title, own, projections)


def _axes(points: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for (method, _), columns in AXES.items():
        axes = points[list(columns)].to_numpy(dtype=np.float32)
        if np.isfinite(axes).all():
            yield method, axes


def _note(table: pd.DataFrame, where: tuple[str, str, str], method: str, dims: int, *, perplexity: int) -> str:
    """Explained variance or perplexity, and the silhouette by word."""
    space = f"{method}_{dims}"
    share = look_up(table, *where, "explained_variance", label="", space=space)
    silhouette = look_up(table, *where, "silhouette", space=space)
    notes = [f"{100 * share.value:.1f} % of the variance"] if share else []
    notes += [f"perplexity {perplexity}"] if method == "tsne" else []
    notes += [f"silhouette by word {fixed(silhouette.value, 2)}"] if silhouette else []
    return ", ".join(notes)


def figure_index(drawn: Sequence[Pictures], table: pd.DataFrame) -> str:
    """An HTML page that links to all pages, and says which representations coincide."""
    rows: list[tuple[list[str], Any]] = [
        ([each.codec, each.view, each.representation], {kind: each.page(kind) for kind in each.sheets})
        for each in drawn
    ]
    for codec in names(table, "codec"):
        rows += [([codec, "all", alias], f"as {name}, up to a factor") for alias, name in aliases(table, codec).items()]
    note = f"Isolated words, a point a clip. {TSNE_CAUTION}" if drawn else NO_WORDS
    return gallery("Codec geometry", note, ["codec", "view", "representation"], rows)
