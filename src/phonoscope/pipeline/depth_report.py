"""Stage `depth-report`: all codecs probed in depth, in figures and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.pipeline.base import StageReport, stage

if TYPE_CHECKING:
    from phonoscope.config.params import Params


@stage(
    "depth-report",
    desc="All codecs probed in depth, in figures and a table",
    params=["codecs", "depth.bootstrap.confidence"],
)
def run(params: Params) -> StageReport:
    """Write metrics/depth-report/table.md and plots/depth; a figure without data is left out."""
    import pandas as pd

    from phonoscope.data.tables import read_frame
    from phonoscope.drawing import write_figures
    from phonoscope.files import write_text
    from phonoscope.pipeline.tables import read_table
    from phonoscope.report import depth

    codecs = list(params.codecs)
    scores = pd.concat([read_table(paths.depth_metrics(codec), f"depth@{codec}") for codec in codecs])
    classes = pd.concat([read_table(paths.depth_classes(codec), f"depth@{codec}") for codec in codecs])
    confusion = pd.concat([read_frame(paths.confusion(codec)) for codec in codecs])
    text = depth.markdown_tables(scores, classes, confidence=params.depth.bootstrap.confidence)
    figures = depth.draw(scores, classes, confusion)
    write_text(paths.DEPTH_REPORT / "table.md", text)
    return StageReport(figures=sorted(write_figures(paths.DEPTH_PLOTS, figures)))
