"""Stage `geometry-report`: all codecs' geometry in tables, verdicts and figures."""

from __future__ import annotations

from functools import partial

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage


@stage("geometry-report", params=["codecs", "geometry.confidence", "geometry.perplexity"])
def run(params: Params) -> StageReport:
    """Write metrics/geometry-report (scores.csv, verdicts.csv, table.md) and plots/geometry."""
    from phonoscope.compute import parallel_map
    from phonoscope.data.tables import read_frame
    from phonoscope.drawing import png, write_plotlyjs
    from phonoscope.files import atomic_dir, write_csv, write_text
    from phonoscope.pipeline.tables import read_table
    from phonoscope.report import geometry, projections

    codecs, confidence = list(params.codecs), params.geometry.confidence
    table = geometry.table({codec: read_table(paths.geometry_metrics(codec), f"geometry@{codec}") for codec in codecs})
    drawn: list[projections.Pictures] = []
    for codec in codecs:
        clips, points = (read_frame(paths.geometry(codec) / f"{name}.parquet") for name in ("clips", "coordinates"))
        drawn += projections.codec_pictures(codec, table, clips, points, params.geometry.perplexity)
    judged = geometry.verdicts(table)
    write_text(paths.GEOMETRY_REPORT / "table.md", geometry.markdown_tables(table, judged))
    write_csv(paths.GEOMETRY_REPORT / "scores.csv", geometry.score_rows(table))
    write_csv(paths.GEOMETRY_REPORT / "verdicts.csv", judged)
    with atomic_dir(paths.GEOMETRY_FIGURES) as folder, atomic_dir(paths.GEOMETRY_OVERVIEW) as overview:
        write_plotlyjs(folder)
        write = partial(projections.write_pages, folder=folder, overview=overview)
        parallel_map(write, drawn, workers=params.compute.workers, description="figures")
        write_text(folder / "index.html", projections.figure_index(drawn, table))
        compared = dict(geometry.draw(table, confidence))
        for name, figure in compared.items():
            (overview / f"{name}.png").write_bytes(png(figure))
    figures = [paths.GEOMETRY_OVERVIEW / f"{name}.png" for name in compared]
    return StageReport(geometry.headline(table), figures=figures)
