"""Stage `summary`: the headline metrics of all stages."""

from __future__ import annotations

from typing import Any

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage


@stage("summary", params=["codecs", "sae.sites"])
def run(params: Params) -> StageReport:
    """Write metrics/summary.json; the report carries the same numbers under dotted names."""
    from phonoscope.files import write_metrics
    from phonoscope.pipeline.tables import read_table
    from phonoscope.report import summary as headline

    by_codec = {
        "codec": (headline.codec_headline, paths.encode_metrics, "encode"),
        "geometry": (headline.geometry_headline, paths.geometry_metrics, "geometry"),
        "depth": (headline.depth_headline, paths.depth_metrics, "depth"),
    }
    by_name = {"corpus": "corpus", "alignment": "align", "split": "split"}
    sections: dict[str, Any] = {
        section: headline.scalars(read_table(paths.stage_metrics(name), name)) for section, name in by_name.items()
    }
    for section, (number, path, name) in by_codec.items():
        sections[section] = {codec: number(read_table(path(codec), f"{name}@{codec}")) for codec in params.codecs}
    sections["probe"] = headline.probe_headline(read_table(paths.COMPARISON / "probes.csv", "compare"))
    distilled = read_table(paths.COMPARISON / "distillation.csv", "compare")
    sections["compare"] = {"distillation": headline.distillation_headline(distilled)}
    sections["vq"] = headline.vq_headline(read_table(paths.VQ_REPORT / "headline.csv", "vq-report"))
    fitted = {site: read_table(paths.sae_scores(site), f"sae@{site}") for site in params.sae.sites}
    meant = {site: read_table(paths.interpret_scores(site), f"interpret@{site}") for site in params.sae.sites}
    sections["sae"] = {site: headline.sae_headline(fitted[site], meant[site]) for site in params.sae.sites}
    encoders = {kind: read_table(paths.encoder_metrics(kind), f"encoder@{kind}") for kind in ("codes", "mel")}
    sections["encoder"] = {kind: headline.encoder_headline(table) for kind, table in encoders.items()}
    write_metrics(paths.SUMMARY, sections)
    return StageReport(metrics=headline.flatten(sections))
