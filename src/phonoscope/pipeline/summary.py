"""Stage `summary`: the headline metrics of all stages."""

from __future__ import annotations

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage


@stage("summary", params=["codecs", "sae.sites"], reads_what_is_there=True)
def run(params: Params) -> StageReport:
    """Write metrics/summary.json, and into metrics/not-applicable.csv the stages without metrics and the reasons.

    The report carries the same numbers under dotted names.
    """
    import pandas as pd

    from phonoscope.files import write_csv, write_metrics
    from phonoscope.pipeline.headlines import read_headlines
    from phonoscope.report.summary import flatten

    sections, reasons = read_headlines(params)
    write_metrics(paths.SUMMARY, sections)
    write_csv(paths.NOT_APPLICABLE, pd.DataFrame(sorted(reasons.items()), columns=["stage", "reason"]))
    return StageReport(metrics=flatten(sections), not_applicable=reasons)
