"""Stage `browse@<site>`: the features of one site as a static page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.config.sites import Site
from phonoscope.pipeline.base import StageReport, stage

if TYPE_CHECKING:
    from phonoscope.config.params import Params
    from phonoscope.report.browser.page import Interpreted

CAUSAL = ["feature", "difference", "difference_low", "difference_high", "causal"]


@stage("browse", per="sae.sites", desc="The features of one site as a static page", params=["interpret.clip_s"])
def run(params: Params, site: str) -> StageReport:
    """Write plots/browse/<site>: index.html, its script and style, data.js and the clips. Opens from disk."""
    from phonoscope.files import atomic_dir
    from phonoscope.report.browser import page
    from phonoscope.whisper.model import FRAME_S

    tables, clips = _read(site), paths.interpretation(site) / "clips"
    frame_s = 0.0 if Site.parse(site).is_decoder else FRAME_S
    data = page.page_data(site, tables, clip_s=params.interpret.clip_s, frame_s=frame_s)
    with atomic_dir(paths.browser(site)) as folder:
        page.write_page(folder, data, clips if clips.is_dir() else None)
    size = sum(file.stat().st_size for file in paths.browser(site).rglob("*") if file.is_file())
    return StageReport(metrics={"megabytes": size / 1e6, "features_with_clips": float(tables.features["clips"].sum())})


def _read(site: str) -> Interpreted:
    from phonoscope.data.tables import read_frame, read_json
    from phonoscope.pipeline.tables import read_table
    from phonoscope.report.browser.page import Interpreted

    folder = paths.interpretation(site)
    tables = {name: read_frame(folder / f"{name}.parquet") for name in ("features", "windows", "means")}
    notes = read_json(folder / "notes.json")
    causal = read_table(paths.causal_metrics(site), f"causal@{site}")
    ablated = causal.loc[causal["intervention"] == "ablate", CAUSAL]
    return Interpreted(**tables, scores=notes["scores"], skipped=notes["skipped"], causal=ablated)
