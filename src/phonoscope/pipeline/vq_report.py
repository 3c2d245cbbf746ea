"""Stage `vq-report`: the codebook collapse in tables, verdicts and figures."""

from __future__ import annotations

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage

PANELS = {"vq_unscaled": "vq, faulty update", "vq": "vq, right update"}


@stage("vq-report", params=["vq.arms"])
def run(params: Params) -> StageReport:
    """Write metrics/vq-report (headline, verdicts, training, perplexities; table.md) and plots/vq."""
    import pandas as pd

    from phonoscope.data.tables import read_json
    from phonoscope.files import read_safetensors
    from phonoscope.pipeline.tables import read_table, write_report
    from phonoscope.report import vq
    from phonoscope.studies.collapse.variants import arm_variants, main_variants

    variants = [*main_variants(), *arm_variants(params.vq.arms)]
    tables = {variant.name: read_table(paths.VQ_METRICS / f"{variant.name}.csv", "vq") for variant in variants}
    written = {name: read_json(paths.VQ_MODELS / name / "checks.json") for name in tables}
    runs = {name: pd.DataFrame(checks).T.rename(index=int) for name, checks in written.items()}
    numbers = vq.headline(tables, {name: runs[name].loc[table["seed"].unique()] for name, table in tables.items()})
    judged = vq.verdicts(tables, numbers, [variant.name for variant in main_variants()])
    curves, titles = vq.perplexity_curves({name: tables[name] for name in PANELS}), {"baseline": "baseline", **PANELS}
    models = {name: read_safetensors(paths.VQ_MODELS / name / "model.safetensors")[0] for name in PANELS}
    books = {name: tensors["quantizer.layers.0.embed"].float().numpy() for name, tensors in models.items()}
    kept = {name: read_safetensors(paths.VQ_MODELS / name / "evidence.safetensors")[0] for name in titles}
    vectors = {name: (both["train"].float().numpy(), both["eval"].float().numpy()) for name, both in kept.items()}
    figures = {
        "perplexities": vq.draw_perplexities(curves, PANELS),
        "encoder": vq.draw_features(vectors, books, titles),
        "norms": vq.draw_norms(tables, PANELS),
    }
    frames = {"headline": numbers, "verdicts": judged, "perplexities": curves, "training": vq.training(tables)}
    text = vq.markdown_tables(numbers, judged)
    return StageReport(figures=write_report(paths.VQ_REPORT, frames, text, paths.VQ_PLOTS, figures))
