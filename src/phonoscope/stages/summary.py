"""Stage `summary`: the headline numbers of all stages in metrics/summary.json."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.files import write_metrics
from phonoscope.report.summary import codec_headline, flatten, probe_headline, scalars
from phonoscope.report.twins import headline
from phonoscope.stages.base import StageReport
from phonoscope.stages.tables import read_table

if TYPE_CHECKING:
    from phonoscope.params import Params

STAGES = {"corpus": "corpus", "alignment": "align", "split": "split"}
"""The stage behind each section that is a table of metrics by name, metrics/<stage>.csv."""


def run(params: Params) -> StageReport:
    """Write metrics/summary.json; the report carries the same numbers under dotted names."""
    summary: dict[str, Any] = {
        section: scalars(read_table(paths.SUMMARY.parent / f"{stage}.csv", stage)) for section, stage in STAGES.items()
    }
    summary["codec"] = {
        codec: codec_headline(read_table(paths.encode_metrics(codec), f"encode@{codec}")) for codec in params.codecs
    }
    table = read_table(paths.COMPARISON / "probes.csv", "compare")
    summary["probe"] = probe_headline(table)
    summary["compare"] = {"twins": headline(read_table(paths.COMPARISON / "twins.csv", "compare"))}
    write_metrics(paths.SUMMARY, summary)
    return StageReport(metrics=flatten(summary))
