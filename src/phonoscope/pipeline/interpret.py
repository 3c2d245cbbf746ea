"""Stage `interpret@<site>`: what the features of a site's sparse autoencoder stand for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from phonoscope import paths
from phonoscope.audio import read_audio, resample
from phonoscope.compute import setup_torch
from phonoscope.drawing import png
from phonoscope.errors import DataError
from phonoscope.files import atomic_dir, write_csv, write_json, write_parquet, write_safetensors
from phonoscope.interpret.clips import SAMPLE_RATE, cut_clip, flac, spectrogram, strip_png
from phonoscope.interpret.run import HIGH_AUROC, Interpretation, interpret, speakers_by, spread_utterances
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.features_io import Features, read_features
from phonoscope.pipeline.tables import read_manifest
from phonoscope.report.interpretation import draw_accents, draw_effects, draw_feature_map, draw_selectivity
from phonoscope.sae.metrics import activations
from phonoscope.sae.store import load_sae

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from phonoscope.config.params import Params

log = logging.getLogger(__name__)
COLUMNS = (
    *("feature", "density", "mean_active", "best_phone", "auroc_train", "auroc", "auroc_frames", "precision"),
    *("detects", "d", "d_low", "d_high", "d_q", "accent"),
)
"""Of the table of features, what stands in metrics/interpret/<site>.csv."""


@stage(
    "interpret",
    per="sae.sites",
    desc="What the features of one site stand for",
    params=["interpret", "compute.torch_threads", "compute.device"],
)
def run(params: Params, site: str) -> StageReport:
    """Write data/interpret/<site>, plots/interpret/<site> and metrics/{interpret,interpret_scores}/<site>.csv."""
    config, features = params.interpret, read_features(site)
    if site.startswith("decoder"):  # whose positions are tokens, at no known time
        config = config.model_copy(update={"clip_features": 0})
    rows = spread_utterances(features.index, config.max_frames)
    if len(rows) < len(features.index):
        log.warning("%s: %d of %d frames are looked at (interpret.max_frames)", site, len(rows), len(features.index))
    index = features.index.iloc[rows].reset_index(drop=True)
    fired = _activations(params, site, features, rows)
    found = interpret(fired, index, config, workers=params.compute.workers)
    write_interpretation(paths.interpretation(site), found, fired, read_manifest(), config.clip_s)
    figures = _figures(found, index, params, site)
    with atomic_dir(paths.interpret_plots(site)) as folder:
        for name, figure in figures.items():
            (folder / f"{name}.png").write_bytes(png(figure))
    write_csv(paths.interpret_metrics(site), found.features[list(COLUMNS)], significant_digits=4)
    report = StageReport(
        metrics=found.scores, figures=[paths.interpret_plots(site) / f"{name}.png" for name in figures]
    )
    write_csv(paths.interpret_scores(site), report.table())
    return report


def write_interpretation(
    path: Path, found: Interpretation, fired: csr_array, manifest: pd.DataFrame, clip_s: float
) -> None:
    """Write the tables, the activations and the clips of a site as a folder."""
    with atomic_dir(path) as folder:
        _write_tables(folder, found)
        _write_activations(folder / "activations.safetensors", fired)
        _write_clips(folder / "clips", found, manifest, clip_s)


def _activations(params: Params, site: str, features: Features, rows: NDArray[np.int64]) -> csr_array:
    """Activations of these rows, batch by batch through the autoencoder: [rows, width]."""
    device = setup_torch(params.compute, params.interpret.seed)
    sae = load_sae(paths.sae_model(site), device)
    values = features.values if len(rows) == len(features.values) else features.values[rows]
    inputs = values[:, 0] if site.startswith("mlp_") else values.reshape(len(values), -1)
    if inputs.shape[1] != sae.config.n_inputs:
        raise DataError(
            f"{paths.sae_model(site)} takes {sae.config.n_inputs} inputs, {paths.features(site)} has {inputs.shape[1]};"
            f" run `dvc repro --force sae@{site}`"
        )
    return activations(sae, inputs)


def _write_tables(folder: Path, found: Interpretation) -> None:
    import pyarrow as pa

    tables = {
        "features": found.features,
        "phones": found.phones,
        "windows": found.windows,
        "means": found.means,
        "power": found.power,
        "forest": found.forest,
    }
    for name, table in tables.items():
        write_parquet(folder / f"{name}.parquet", pa.Table.from_pandas(table, preserve_index=False))
    write_json(folder / "notes.json", {"skipped": found.skipped, "scores": found.scores})


def _write_activations(path: Path, fired: csr_array) -> None:
    import torch

    parts = {name: torch.from_numpy(getattr(fired, name)) for name in ("data", "indices", "indptr")}
    write_safetensors(path, parts, {"form": "CSR", "shape": list(fired.shape)})


def _write_clips(folder: Path, found: Interpretation, manifest: pd.DataFrame, clip_s: float) -> None:
    """Write <feature>/<rank>.flac, and spectrograms.png with one strip a clip from top to bottom."""
    with_clips = found.features.loc[found.features["clips"], "feature"]
    windows = found.windows[found.windows["feature"].isin(with_clips)].reset_index(drop=True)
    audio = manifest.set_index("utterance")
    clips = np.zeros((len(windows), round(clip_s * SAMPLE_RATE)), dtype=np.float32)
    for utterance, own in windows.groupby("utterance", observed=True):
        row: Any = audio.loc[utterance]
        samples = resample(read_audio(paths.CORPUS / row["path"])[0], int(row["sample_rate"]), SAMPLE_RATE)
        for position, frame in zip(own.index.to_numpy(), own["frame"].tolist(), strict=True):
            clips[position] = cut_clip(samples, frame, clip_s)
    for feature, own in windows.groupby("feature"):
        place = folder / f"{feature:05d}"
        place.mkdir(parents=True)
        for position, rank in zip(own.index.to_numpy(), own["rank"].tolist(), strict=True):
            (place / f"{rank:02d}.flac").write_bytes(flac(clips[position]))
        (place / "spectrograms.png").write_bytes(strip_png([spectrogram(clips[position]) for position in own.index]))


def _figures(found: Interpretation, index: pd.DataFrame, params: Params, site: str) -> dict[str, Figure]:
    """The figures by name; those of a statistic that was skipped are not drawn."""
    config, sexes = params.interpret, speakers_by(index, "sex")
    figures = {"phones": draw_selectivity(found.phones, site, HIGH_AUROC)}
    if "effects by sex" not in found.skipped:
        units = f"{sexes.get('F', 0)} female and {sexes.get('M', 0)} male speakers"
        figures["effects"] = draw_effects(
            found.features, site, alpha=config.alpha, confidence=config.confidence, speakers=units
        )
    if found.accents is not None:
        figures["accents"] = draw_accents(found.accents, speakers_by(index, "accent"), site)
    if len(found.feature_map):
        figures["features"] = draw_feature_map(found.feature_map, site)
    return figures
