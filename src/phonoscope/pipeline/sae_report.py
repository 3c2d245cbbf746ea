"""Stage `sae-report`: the sparse autoencoders of all sites side by side."""

from __future__ import annotations

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage


@stage("sae-report", params=["sae.sites"])
def run(params: Params) -> StageReport:
    """Write metrics/sae_report (tables of all sites; table.md) and plots/sae (figures)."""
    from phonoscope.pipeline.tables import read_table, write_report
    from phonoscope.report import sae

    scores, features, curves, l0 = (
        {site: read_table(path(site), f"sae@{site}") for site in params.sae.sites}
        for path in (paths.sae_scores, paths.sae_metrics, paths.sae_training, paths.sae_l0)
    )
    places = {
        "baselines": paths.interpret_baselines,
        "sparse": paths.interpret_sparse,
        "stability": paths.interpret_stability,
    }
    tables = {
        name: sae.stack({site: read_table(path(site), f"interpret@{site}") for site in params.sae.sites})
        for name, path in places.items()
    }
    text = sae.describe(**tables)
    tables |= {"l0": sae.stack(l0), "density": sae.density_histogram(features), "layers": sae.layer_curves(scores)}
    figures = {
        "l0": sae.draw_l0(tables["l0"], scores),
        "density": sae.draw_density(tables["density"], scores),
        "layers": sae.draw_layers(scores),
        "training": sae.draw_training(curves),
    }
    return StageReport(figures=write_report(paths.SAE_REPORT, tables, text, paths.SAE_PLOTS, figures))
