"""Stage `depth-report`: all codecs probed in depth, in figures and a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from phonoscope import paths
from phonoscope.drawing import png
from phonoscope.errors import DataError
from phonoscope.files import atomic_dir, atomic_file
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.tables import read_table
from phonoscope.report.depth_figures import draw_controls, draw_groups, draw_information, draw_inputs, draw_phones
from phonoscope.report.depth_table import depth_markdown

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from phonoscope.config.params import Params


@stage(
    "depth-report",
    desc="All codecs probed in depth, in figures and a table",
    params=["codecs", "depth.bootstrap.confidence"],
)
def run(params: Params) -> StageReport:
    """Write metrics/depth-report/table.md and plots/depth; a figure that has nothing to show is left out."""
    codecs = list(params.codecs)
    scores = pd.concat([read_table(paths.depth_metrics(codec), f"depth@{codec}") for codec in codecs])
    classes = pd.concat([read_table(paths.depth_classes(codec), f"depth@{codec}") for codec in codecs])
    confusion = pd.concat([_confusion(codec) for codec in codecs])
    with atomic_file(paths.DEPTH_REPORT / "table.md") as temporary:
        text = depth_markdown(scores, classes, confidence=params.depth.bootstrap.confidence)
        temporary.write_text(text, encoding="utf-8")
    with atomic_dir(paths.DEPTH_PLOTS) as folder:
        for name, figure in _figures(scores, classes, confusion).items():
            (folder / f"{name}.png").write_bytes(png(figure))
    return StageReport(figures=sorted(paths.DEPTH_PLOTS.glob("*.png")))


def _figures(scores: pd.DataFrame, classes: pd.DataFrame, confusion: pd.DataFrame) -> dict[str, Figure]:
    single = confusion.loc[confusion["input"] == "layer", "layer"]
    summed = confusion.loc[confusion["input"] == "cumulative", "layer"]
    first, last = int(single.min()) if len(single) else 1, int(summed.max()) if len(summed) else 1
    found = {
        "information": draw_information(scores),
        "inputs": draw_inputs(scores),
        "controls": draw_controls(scores),
        "phones_layer": draw_phones(confusion, classes, "layer", first),
        "phones_latent": draw_phones(confusion, classes, "latent", 0),
        "groups": draw_groups(confusion, classes, [("layer", first), ("cumulative", last), ("latent", 0)]),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def _confusion(codec: str) -> pd.DataFrame:
    path: Path = paths.confusion(codec)
    if not path.exists():
        raise DataError(f"{path}: no such file; run `dvc repro depth@{codec}`")
    return pd.read_parquet(path)
