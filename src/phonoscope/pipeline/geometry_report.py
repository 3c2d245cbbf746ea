"""Stage `geometry-report`: all codecs' geometry in figures, tables and words."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from phonoscope import paths
from phonoscope.compute import parallel_map
from phonoscope.drawing import png, write_html, write_plotlyjs
from phonoscope.errors import DataError
from phonoscope.files import atomic_dir, atomic_file, write_csv
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.tables import read_table
from phonoscope.report.geometry_answer import geometry_answer
from phonoscope.report.geometry_figures import draw_layers, draw_scores
from phonoscope.report.geometry_pictures import COMPLETE, Pictures, codec_pictures, figure_index
from phonoscope.report.geometry_table import combine_geometry, difference_headline, markdown_tables, names, score_rows
from phonoscope.report.projections import draw_image, draw_interactive

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from phonoscope.config.params import Params

SCRIPT = "../../plotly.min.js"
"""Where a figure's page finds plotly.js, once for all."""


@stage(
    "geometry-report",
    desc="All codecs' geometry in figures, tables and words",
    params=["codecs", "geometry.bootstrap.confidence", "geometry.perplexity"],
)
def run(params: Params) -> StageReport:
    """Write metrics/geometry-report (scores, tables, the answer in words) and plots/geometry."""
    codecs, confidence = list(params.codecs), params.geometry.bootstrap.confidence
    table = combine_geometry(
        {codec: read_table(paths.geometry_metrics(codec), f"geometry@{codec}") for codec in codecs}
    )
    drawn = [pictures for codec in codecs for pictures in _pictures(codec, table, params.geometry.perplexity)]
    texts = {"answer": geometry_answer(table, confidence=confidence), "table": markdown_tables(table)}
    for name, text in texts.items():
        with atomic_file(paths.GEOMETRY_REPORT / f"{name}.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
    write_csv(paths.GEOMETRY_REPORT / "scores.csv", score_rows(table))
    with atomic_dir(paths.GEOMETRY_FIGURES) as folder, atomic_dir(paths.GEOMETRY_OVERVIEW) as overview:
        write_plotlyjs(folder)
        draw = partial(_draw, folder=folder, overview=overview)
        parallel_map(draw, drawn, workers=params.compute.workers, description="figures")
        (folder / "index.html").write_text(figure_index(drawn, table), encoding="utf-8")
        compared = dict(_compared(table, confidence))
        for name, figure in compared.items():
            (overview / f"{name}.png").write_bytes(png(figure))
    figures = [paths.GEOMETRY_OVERVIEW / f"{name}.png" for name in compared]
    return StageReport(difference_headline(table), figures=figures)


def _pictures(codec: str, table: pd.DataFrame, perplexity: int) -> Iterator[Pictures]:
    return codec_pictures(codec, table, _read(codec, "clips"), _read(codec, "coordinates"), perplexity)


def _read(codec: str, name: str) -> pd.DataFrame:
    path = paths.geometry(codec) / f"{name}.parquet"
    if not path.exists():
        raise DataError(f"{path}: no such file; run `dvc repro geometry@{codec}`")
    return pd.read_parquet(path)


def _draw(pictures: Pictures, *, folder: Path, overview: Path) -> None:
    """A page and an image of each sheet; the image of the complete one goes to the overview."""
    for kind, projections in pictures.sheets.items():
        page = folder / pictures.page(kind)
        write_html(page, draw_interactive(projections, pictures.clips, title=pictures.title), script=SCRIPT)
        image = page.with_suffix(".png")
        if kind == COMPLETE:
            image = overview / f"{pictures.codec}_{pictures.view}_{pictures.representation}.png"
        image.write_bytes(png(draw_image(projections, pictures.clips, title=pictures.title)))


def _compared(table: pd.DataFrame, confidence: float) -> Iterator[tuple[str, Figure]]:
    """Figures of all codecs together, by name."""
    for view in names(table, "view"):
        yield f"scores_{view}", draw_scores(table, view, confidence=confidence)
        layers = draw_layers(table, view, confidence=confidence)
        if layers:
            yield f"layers_{view}", layers
