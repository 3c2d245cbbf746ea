"""Stage `maps`: the frames of chosen RVQ layers in the plane, coloured by phone group, speaker and F0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from phonoscope import paths
from phonoscope.compute import parallel_map
from phonoscope.data.phones import GROUPS, OTHER, phone_group
from phonoscope.drawing import png
from phonoscope.files import atomic_dir, read_safetensors, write_csv
from phonoscope.maps.embedding import map_codes
from phonoscope.maps.frames import sample_frames
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.tables import read_manifest
from phonoscope.report.maps import PALE, PALETTE, Panel, draw_classes, draw_values

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from phonoscope.config.maps import MapsConfig
    from phonoscope.config.params import Params

REST = "other speakers"
GROUP_HUES = {group: PALETTE[turn] for turn, group in zip((0, 5, 2, 3, 4, 1, 6), GROUPS, strict=True)}
GROUP_HUES |= {"silence": PALE, OTHER: "#8C8C8C"}
COLUMNS = ("codec", "layer", "frames", "codes", "perplexity", "divergence", "trustworthiness")


@stage(
    "maps",
    desc="Frames of chosen RVQ layers in the plane, by phone group, speaker and F0",
    params=["codecs", "maps"],
)
def run(params: Params) -> StageReport:
    """Write plots/maps (phone, speaker, pitch) and metrics/maps.csv, a row a map."""
    config = params.maps
    speakers = read_manifest().set_index("utterance")["speaker"]
    frames = {codec: sample_frames(paths.tokens(codec), config) for codec in params.codecs}
    work = [
        (codec, layer, own[f"code_{layer}"].to_numpy())
        for codec, own in frames.items()
        for layer in config.layers
        if f"code_{layer}" in own
    ]
    panels = parallel_map(partial(_panel, config=config), work, workers=params.compute.workers, description="maps")
    named = {codec: own["utterance"].map(speakers).astype(str) for codec, own in frames.items()}
    with atomic_dir(paths.MAPS) as folder:
        for name, figure in _figures(panels, frames, named, config):
            (folder / f"{name}.png").write_bytes(png(figure))
    rows = pd.DataFrame([_row(panel) for panel in panels if panel.map], columns=list(COLUMNS))
    write_csv(paths.stage_metrics("maps"), rows)
    names = [f"{row.codec}.layer_{row.layer}.trustworthiness" for row in rows.itertuples()]
    return StageReport(
        dict(zip(names, rows["trustworthiness"].tolist(), strict=True)),
        figures=sorted(paths.MAPS.glob("*.png")),
    )


def _panel(work: tuple[str, int, NDArray[np.int16]], config: MapsConfig) -> Panel:
    codec, layer, codes = work
    codebook = read_safetensors(paths.codebooks(codec))[0][f"layer_{layer}"].numpy()
    return Panel(codec, layer, codes, map_codes(codebook, np.bincount(codes, minlength=len(codebook)), config))


def _figures(
    panels: list[Panel], frames: Mapping[str, pd.DataFrame], speakers: Mapping[str, pd.Series[str]], config: MapsConfig
) -> Iterator[tuple[str, Figure]]:
    groups = {
        codec: [OTHER if phone is None else phone_group(phone) for phone in own["phone"].astype(object)]
        for codec, own in frames.items()
    }
    yield "phone", draw_classes(panels, groups, GROUP_HUES, "Frames by phone group")
    top = list(pd.concat(list(speakers.values())).value_counts(sort=False).sort_index().nlargest(config.speakers).index)
    known = {codec: own.where(own.isin(top), REST).tolist() for codec, own in speakers.items()}
    hues = dict(zip(sorted(top), PALETTE, strict=False)) | {REST: PALE}
    yield "speaker", draw_classes(panels, known, hues, f"Frames of the {len(top)} most frequent speakers")
    f0 = {codec: own["f0_hz"].to_numpy(dtype=np.float64) for codec, own in frames.items()}
    yield "pitch", draw_values(panels, f0, "Frames by F0 (unvoiced frames are grey)", "F0 (Hz)")


def _row(panel: Panel) -> tuple[object, ...]:
    found = panel.map
    assert found is not None
    facts = len(found.codes), found.perplexity, found.divergence, found.trustworthiness
    return (panel.codec, panel.layer, len(panel.codes), *facts)
