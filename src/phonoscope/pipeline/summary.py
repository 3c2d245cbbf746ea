"""Stage `summary`: the headline numbers of all stages in metrics/summary.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.files import write_metrics
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.tables import read_table
from phonoscope.report.summary import (
    codec_headline,
    depth_headline,
    encoder_headline,
    flatten,
    geometry_headline,
    probe_headline,
    sae_headline,
    scalars,
    vq_headline,
)
from phonoscope.report.twins import headline

if TYPE_CHECKING:
    from phonoscope.config.params import Params

ENCODERS = ("codes", "mel")
STAGES = {"corpus": "corpus", "alignment": "align", "split": "split"}
"""The stage behind each section that is a table of metrics by name, metrics/<stage>.csv."""


@stage(
    "summary",
    desc="The headline metrics of all stages",
    params=["codecs", "sae.sites"],
)
def run(params: Params) -> StageReport:
    """Write metrics/summary.json; the report carries the same numbers under dotted names."""
    summary: dict[str, Any] = {
        section: scalars(read_table(paths.SUMMARY.parent / f"{stage}.csv", stage)) for section, stage in STAGES.items()
    }
    summary["codec"] = {
        codec: codec_headline(read_table(paths.encode_metrics(codec), f"encode@{codec}")) for codec in params.codecs
    }
    summary["geometry"] = {
        codec: geometry_headline(read_table(paths.geometry_metrics(codec), f"geometry@{codec}"))
        for codec in params.codecs
    }
    table = read_table(paths.COMPARISON / "probes.csv", "compare")
    summary["probe"] = probe_headline(table)
    summary["depth"] = {
        codec: depth_headline(read_table(paths.depth_metrics(codec), f"depth@{codec}")) for codec in params.codecs
    }
    summary["compare"] = {"twins": headline(read_table(paths.COMPARISON / "twins.csv", "compare"))}
    summary["vq"] = vq_headline(read_table(paths.VQ_REPORT / "headline.csv", "vq-report"))
    summary["sae"] = {
        site: sae_headline(
            read_table(paths.sae_scores(site), f"sae@{site}"),
            read_table(paths.interpret_scores(site), f"interpret@{site}"),
        )
        for site in params.sae.sites
    }
    summary["encoder"] = {
        kind: encoder_headline(read_table(paths.encoder_metrics(kind), f"encoder@{kind}")) for kind in ENCODERS
    }
    write_metrics(paths.SUMMARY, summary)
    return StageReport(metrics=flatten(summary))
