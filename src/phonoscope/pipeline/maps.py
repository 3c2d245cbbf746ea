"""Stage `maps`: frames of chosen RVQ layers in the plane, by phone group, speaker and F0."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage

if TYPE_CHECKING:
    from phonoscope.config.maps import MapsConfig
    from phonoscope.report.maps import Panel


@stage("maps", params=["codecs", "maps"])
def run(params: Params) -> StageReport:
    """Write plots/maps (phone, speaker, pitch) and metrics/maps.csv, a row a map."""
    import pandas as pd

    from phonoscope.compute import parallel_map
    from phonoscope.data import Labels, Manifest, Tokens
    from phonoscope.drawing import write_figures
    from phonoscope.files import write_csv
    from phonoscope.geometry.maps import sample_frames
    from phonoscope.report import maps

    config = params.maps
    speakers = pd.Series(Manifest.load(paths.MANIFEST).by_utterance("speaker"))
    labels = Labels.load(paths.ALIGNMENTS)
    sampled = {codec: sample_frames(Tokens.load(paths.tokens(codec)), labels, config) for codec in params.codecs}
    work = [(codec, layer, codes) for codec, (_, layers) in sampled.items() for layer, codes in layers.items()]
    frames = {codec: table for codec, (table, _) in sampled.items()}
    panels = parallel_map(partial(_panel, config=config), work, workers=params.compute.workers, description="maps")
    table, figures = maps.table(panels), dict(maps.draw(panels, frames, speakers, config.speakers))
    write_csv(paths.stage_metrics("maps"), table)
    names = table["codec"] + ".layer_" + table["layer"].astype(str) + ".trustworthiness"
    metrics = dict(zip(names, table["trustworthiness"].astype(float), strict=True))
    return StageReport(metrics, figures=sorted(write_figures(paths.MAPS, figures)))


def _panel(work: tuple[str, int, Any], config: MapsConfig) -> Panel:
    import numpy as np

    from phonoscope.data import Codebooks
    from phonoscope.geometry.maps import map_codes
    from phonoscope.report.maps import Panel

    codec, layer, codes = work
    codebook = Codebooks.load(paths.codebooks(codec)).vectors[layer - 1]
    return Panel(codec, layer, codes, map_codes(codebook, np.bincount(codes, minlength=len(codebook)), config))
