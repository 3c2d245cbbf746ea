"""Stage `browse@<site>`: the features of one site as a static page."""

from __future__ import annotations

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.config.sites import Site
from phonoscope.pipeline.base import StageReport, stage


@stage("browse", per="sae.sites", params=["interpret.clip_s"])
def run(params: Params, site: str) -> StageReport:
    """Write plots/browse/<site>: index.html, its script and style, data.js and the clips. Opens from disk."""
    from phonoscope.data.tables import read_frame, read_json
    from phonoscope.files import atomic_dir
    from phonoscope.pipeline.tables import read_table
    from phonoscope.report.browser import page
    from phonoscope.whisper.model import FRAME_S

    source, frame_s = paths.interpretation(site), 0.0 if Site.parse(site).is_decoder else FRAME_S
    tables = {name: read_frame(source / f"{name}.parquet") for name in ("features", "windows", "means")}
    notes, causal = read_json(source / "notes.json"), read_table(paths.causal_metrics(site), f"causal@{site}")
    columns = ["feature", "difference", "difference_low", "difference_high", "causal"]
    causal["causal"] = causal["verdict"] == "causal"
    tables["causal"] = causal.loc[causal["intervention"] == "ablate", columns]
    data = page.page_data(site, tables, notes, params.interpret.clip_s, frame_s)
    with atomic_dir(paths.browser(site)) as folder:
        page.write_page(folder, data, source / "clips" if (source / "clips").is_dir() else None)
    size = sum(file.stat().st_size for file in paths.browser(site).rglob("*") if file.is_file())
    clips = float(tables["features"]["clips"].sum())
    return StageReport(metrics={"megabytes": size / 1e6, "features_with_clips": clips})
