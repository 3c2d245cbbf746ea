"""Headline metrics read from the tables of all stages."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.errors import NotApplicable
from phonoscope.pipeline.tables import read_table

if TYPE_CHECKING:
    import pandas as pd

    from phonoscope.config.params import Params


def read_headlines(params: Params) -> tuple[dict[str, Any], dict[str, str]]:
    """The headline metrics by section, and by stage the reason why it has none."""
    from phonoscope.report import summary as headline

    reasons: dict[str, str] = {}

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
    return {section: numbers for section, numbers in sections.items() if numbers}, reasons
