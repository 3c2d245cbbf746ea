"""Stage `interpret@<site>`: what the features of a site's sparse autoencoder detect."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.config.sites import Site
from phonoscope.drawing import png
from phonoscope.errors import DataError
from phonoscope.files import atomic_dir, write_csv
from phonoscope.pipeline.base import StageReport, stage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from phonoscope.config.params import Params

log = logging.getLogger(__name__)
COLUMNS = (
    *("feature", "density", "mean_active", "best_phone", "auroc_train", "auroc", "auroc_frames", "precision"),
    *("detects", "d", "d_low", "d_high", "d_q", "accent"),
)
"""Columns of the table of features that metrics/interpret/<site>.csv has."""


@stage(
    "interpret",
    per="sae.sites",
    desc="What the features of one site stand for",
    params=["interpret", "compute.torch_threads", "compute.device"],
)
def run(params: Params, item: str) -> StageReport:
    """Write data/interpret/<site>, plots/interpret/<site> and metrics/{interpret,interpret_scores}/<site>.csv."""
    from phonoscope.audio import read_audio, resample
    from phonoscope.compute import setup_torch
    from phonoscope.data import Features, Manifest
    from phonoscope.report.interpretation import draw_site
    from phonoscope.sae import activations, load_sae
    from phonoscope.sae.data import site_inputs
    from phonoscope.sae.interpret import interpret
    from phonoscope.sae.interpret.clips import SAMPLE_RATE
    from phonoscope.sae.interpret.run import spread_utterances
    from phonoscope.sae.interpret.store import save_interpretation

    site, config, features = Site.parse(item), params.interpret, Features.load(paths.features(item))
    if site.is_decoder:  # its positions are tokens, at no known time
        config = config.model_copy(update={"clip_features": 0})
    rows = spread_utterances(features.index, config.max_frames)
    if len(rows) < len(features.index):
        log.warning("%s: %d of %d frames are used (interpret.max_frames)", item, len(rows), len(features.index))
    index = features.index.iloc[rows].reset_index(drop=True)
    model = load_sae(paths.sae_model(item), setup_torch(params.compute, config.seed))
    inputs = site_inputs(site.form, features.values if len(rows) == len(features.values) else features.values[rows])
    if inputs.shape[1] != model.shape.d_in:
        widths = f"takes {model.shape.d_in} inputs, {paths.features(item)} has {inputs.shape[1]}"
        raise DataError(f"{paths.sae_model(item)} {widths}; run `dvc repro --force sae@{item}`")
    fired = activations(model, inputs)
    result = interpret(fired, index, config, workers=params.compute.workers)
    files = Manifest.load(paths.MANIFEST).by_utterance("path")

    def read(utterance: str) -> NDArray[np.float32]:
        return resample(*read_audio(paths.CORPUS / files[utterance]), SAMPLE_RATE)

    with atomic_dir(paths.interpretation(item)) as folder:
        save_interpretation(folder, result, fired, read, config.clip_s)
    figures = draw_site(result, index, item, config)
    with atomic_dir(paths.interpret_plots(item)) as folder:
        for name, figure in figures.items():
            (folder / f"{name}.png").write_bytes(png(figure))
    write_csv(paths.interpret_metrics(item), result.features[list(COLUMNS)], significant_digits=4)
    plots = [paths.interpret_plots(item) / f"{name}.png" for name in figures]
    report = StageReport(metrics=result.scores, figures=plots)
    write_csv(paths.interpret_scores(item), report.table())
    return report
