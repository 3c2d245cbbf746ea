"""Stage `summary`: the headline metrics of all stages."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.errors import NotApplicable
from phonoscope.pipeline.base import StageReport, stage

if TYPE_CHECKING:
    import pandas as pd


@stage("summary", params=["codecs", "sae.sites"], reads_what_is_there=True)
def run(params: Params) -> StageReport:
    """Write metrics/summary.json, and into metrics/not-applicable.csv the stages without metrics and the reasons.

    The report carries the same numbers under dotted names.
    """
    import pandas as pd

    from phonoscope.files import write_csv, write_metrics
    from phonoscope.report import summary as headline

    reasons: dict[str, str] = {}
    sections = _sections(params, reasons)
    write_metrics(paths.SUMMARY, sections)
    write_csv(paths.NOT_APPLICABLE, pd.DataFrame(sorted(reasons.items()), columns=["stage", "reason"]))
    return StageReport(metrics=headline.flatten(sections), not_applicable=reasons)


def _sections(params: Params, reasons: dict[str, str]) -> dict[str, Any]:
    """The headline metrics by section; adds to `reasons` why a stage has none."""
    from phonoscope.pipeline.tables import read_table
    from phonoscope.report import summary as headline

    def read(path: Path, name: str) -> pd.DataFrame:
        try:
            return read_table(path, name)
        except NotApplicable as error:
            reasons[name] = str(error)
            raise

    by_name = {"corpus": "corpus", "alignment": "align", "split": "split"}
    by_item = {
        "codec": (headline.codec_headline, paths.encode_metrics, "encode", params.codecs),
        "geometry": (headline.geometry_headline, paths.geometry_metrics, "geometry", params.codecs),
        "depth": (headline.depth_headline, paths.depth_metrics, "depth", params.codecs),
        "encoder": (headline.encoder_headline, paths.encoder_metrics, "encoder", ("codes", "mel")),
    }
    sections: dict[str, Any] = {section: {} for section in [*by_name, *by_item, "sae"]}
    for section, name in by_name.items():
        with suppress(NotApplicable):
            sections[section] = headline.scalars(read(paths.stage_metrics(name), name))
    for section, (numbers, path, name, items) in by_item.items():
        for item in items:
            with suppress(NotApplicable):
                sections[section][item] = numbers(read(path(item), f"{name}@{item}"))
    with suppress(NotApplicable):
        sections["probe"] = headline.probe_headline(read(paths.COMPARISON / "probes.csv", "compare"))
        distilled = read(paths.COMPARISON / "distillation.csv", "compare")
        sections["compare"] = {"distillation": headline.distillation_headline(distilled)}
    with suppress(NotApplicable):
        sections["vq"] = headline.vq_headline(read(paths.VQ_REPORT / "headline.csv", "vq-report"))
    for site in params.sae.sites:
        with suppress(NotApplicable):
            fitted = read(paths.sae_scores(site), f"sae@{site}")
            meant = read(paths.interpret_scores(site), f"interpret@{site}")
            sections["sae"][site] = headline.sae_headline(fitted, meant)
    return {section: numbers for section, numbers in sections.items() if numbers}
