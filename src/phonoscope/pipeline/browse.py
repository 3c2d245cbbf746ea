"""Stage `browse@<site>`: the site's features as a static page to search, see and listen to."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pandas as pd

from phonoscope import paths
from phonoscope.browse.page import ASSETS, Interpreted, page_data, script
from phonoscope.config.sites import Site
from phonoscope.errors import DataError
from phonoscope.files import atomic_dir
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.tables import read_table
from phonoscope.whisper.model import FRAME_S

if TYPE_CHECKING:
    from phonoscope.config.params import Params

CAUSAL = ["feature", "difference", "difference_low", "difference_high", "causal"]


@stage(
    "browse",
    per="sae.sites",
    desc="The features of one site as a static page",
    params=["interpret.clip_s"],
)
def run(params: Params, site: str) -> StageReport:
    """Write plots/browse/<site>: index.html, its script and style, data.js and the clips. Opens from disk."""
    found = _read(site)
    data = page_data(
        site, found, clip_s=params.interpret.clip_s, frame_s=0.0 if Site.parse(site).is_decoder else FRAME_S
    )
    with atomic_dir(paths.browser(site)) as folder:
        for asset in sorted(ASSETS.iterdir()):
            shutil.copyfile(asset, folder / asset.name)
        (folder / "data.js").write_text(script(data), encoding="utf-8")
        clips = paths.interpretation(site) / "clips"
        if clips.is_dir():
            shutil.copytree(clips, folder / "clips", copy_function=shutil.copyfile)
    size = sum(file.stat().st_size for file in paths.browser(site).rglob("*") if file.is_file())
    return StageReport(metrics={"megabytes": size / 1e6, "features_with_clips": float(found.features["clips"].sum())})


def _read(site: str) -> Interpreted:
    folder = paths.interpretation(site)
    tables = {name: folder / f"{name}.parquet" for name in ("features", "windows", "means")}
    notes = folder / "notes.json"
    for file in (*tables.values(), notes):
        if not file.exists():
            raise DataError(f"{file}: no such file; run `dvc repro interpret@{site}`")
    try:
        read = {name: pd.read_parquet(file) for name, file in tables.items()}
        said = json.loads(notes.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: not readable ({error}); run `dvc repro --force interpret@{site}`") from error
    causal = read_table(paths.causal_metrics(site), f"causal@{site}")
    ablated = causal.loc[causal["intervention"] == "ablate", CAUSAL]
    return Interpreted(**read, scores=said["scores"], skipped=said["skipped"], causal=ablated)
