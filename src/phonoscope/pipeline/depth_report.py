"""Stage `depth-report`: all codecs probed in depth, in figures and a table."""

from __future__ import annotations

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage


@stage("depth-report", params=["codecs", "depth.confidence"])
def run(params: Params) -> StageReport:
    """Write metrics/depth-report/table.md and plots/depth; a figure without data is left out."""
    import pandas as pd

    from phonoscope.data.tables import read_frame
    from phonoscope.pipeline.tables import read_table, write_report
    from phonoscope.report import depth

    codecs = list(params.codecs)
    scores = pd.concat([read_table(paths.depth_metrics(codec), f"depth@{codec}") for codec in codecs])
    classes = pd.concat([read_table(paths.depth_classes(codec), f"depth@{codec}") for codec in codecs])
    confusion = pd.concat([read_frame(paths.confusion(codec)) for codec in codecs])
    text = depth.markdown_tables(scores, classes, confidence=params.depth.confidence)
    figures = depth.draw(scores, classes, confusion)
    return StageReport(figures=sorted(write_report(paths.DEPTH_REPORT, {}, text, paths.DEPTH_PLOTS, figures)))
