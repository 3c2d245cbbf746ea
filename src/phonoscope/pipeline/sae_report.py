"""Stage `sae-report`: the sparse autoencoders of all sites side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.drawing import png
from phonoscope.files import atomic_dir, write_csv
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.tables import read_table
from phonoscope.sae.figures import (
    density_histogram,
    draw_density,
    draw_l0,
    draw_layers,
    draw_training,
    layer_curves,
    stack,
)

if TYPE_CHECKING:
    from phonoscope.config.params import Params


@stage(
    "sae-report",
    desc="The sparse autoencoders of all sites side by side",
    params=["sae.sites"],
)
def run(params: Params) -> StageReport:
    """Write metrics/sae_report (tables of all sites) and plots/sae (figures)."""
    scores, features, curves, l0 = (
        {site: read_table(path(site), f"sae@{site}") for site in params.sae.sites}
        for path in (paths.sae_scores, paths.sae_metrics, paths.sae_training, paths.sae_l0)
    )
    tables = {"l0": stack(l0), "density": density_histogram(features), "layers": layer_curves(scores)}
    figures = {
        "l0": draw_l0(tables["l0"], scores),
        "density": draw_density(tables["density"], scores),
        "layers": draw_layers(scores),
        "training": draw_training(curves),
    }
    for name, table in tables.items():
        write_csv(paths.SAE_REPORT / f"{name}.csv", table)
    with atomic_dir(paths.SAE_PLOTS) as folder:
        for name, figure in figures.items():
            (folder / f"{name}.png").write_bytes(png(figure))
    return StageReport(figures=[paths.SAE_PLOTS / f"{name}.png" for name in figures])
