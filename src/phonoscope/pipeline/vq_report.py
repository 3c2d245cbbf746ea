"""Stage `vq-report`: the codebook collapse in tables, verdicts and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage

if TYPE_CHECKING:
    import pandas as pd

PANELS = {"vq_unscaled": "vq, faulty update", "vq": "vq, right update"}


@stage("vq-report", params=["vq.arms"])
def run(params: Params) -> StageReport:
    """Write metrics/vq-report (headline, verdicts, training, perplexities; table.md) and plots/vq."""
    from phonoscope.pipeline.tables import read_table, write_report
    from phonoscope.report import vq
    from phonoscope.studies.collapse.variants import arm_variants, main_variants

    variants = [*main_variants(), *arm_variants(params.vq.arms)]
    tables = {variant.name: read_table(paths.VQ_METRICS / f"{variant.name}.csv", "vq") for variant in variants}
    numbers = vq.headline(tables, {name: _checks(name, table) for name, table in tables.items()})
    judged = vq.verdicts(tables, numbers, [variant.name for variant in main_variants()])
    curves, titles = vq.perplexity_curves({name: tables[name] for name in PANELS}), {"baseline": "baseline", **PANELS}
    books = {name: _tensor(name, "model", "quantizer.layers.0.embed") for name in PANELS}
    vectors = {name: (_tensor(name, "evidence", "train"), _tensor(name, "evidence", "eval")) for name in titles}
    figures = {
        "perplexities": vq.draw_perplexities(curves, PANELS),
        "encoder": vq.draw_features(vectors, books, titles),
        "norms": vq.draw_norms(tables, PANELS),
    }
    frames = {"headline": numbers, "verdicts": judged, "perplexities": curves, "training": vq.training(tables)}
    text = vq.markdown_tables(numbers, judged)
    return StageReport(figures=write_report(paths.VQ_REPORT, frames, text, paths.VQ_PLOTS, figures))


def _checks(variant: str, runs: pd.DataFrame) -> pd.DataFrame:
    """The checks of a variant, a row a seed. Raises `KeyError` if a run has none."""
    import pandas as pd

    from phonoscope.data.tables import read_json

    checks = read_json(paths.VQ_MODELS / variant / "checks.json")
    return pd.DataFrame(checks).T.rename(index=int).loc[runs["seed"].unique()]


def _tensor(variant: str, file: str, name: str) -> Any:
    from phonoscope.files import read_safetensors

    return read_safetensors(paths.VQ_MODELS / variant / f"{file}.safetensors")[0][name].float().numpy()
