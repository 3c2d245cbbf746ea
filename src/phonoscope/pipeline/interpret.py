"""Stage `interpret@<site>`: what the features of one site stand for."""

from __future__ import annotations

import logging
from functools import partial

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.config.sites import Site
from phonoscope.files import atomic_dir, write_csv
from phonoscope.pipeline.base import StageReport, stage

log = logging.getLogger(__name__)
COLUMNS = (
    *("feature", "density", "mean_active", "best_phone", "auroc_train", "auroc", "auroc_frames", "precision"),
    *("detects", "g", "g_low", "g_high", "g_q", "accent"),
)
"""Columns of the table of features that metrics/interpret/<site>.csv has."""


@stage("interpret", per="sae.sites", params=["interpret", "compute.torch_threads", "compute.device"])
def run(params: Params, item: str) -> StageReport:
    """Write {data,plots}/interpret/<site> and metrics/interpret{,_scores,_baselines,_sparse,_stability}/<site>.csv."""
    from phonoscope.compute import setup_torch
    from phonoscope.data import Features, Manifest
    from phonoscope.drawing import write_figures
    from phonoscope.report.interpretation import draw_site
    from phonoscope.sae import activations, load_sae
    from phonoscope.sae.data import site_frames, site_inputs
    from phonoscope.sae.fit import untrained
    from phonoscope.sae.interpret import compare, interpret, spread_utterances
    from phonoscope.sae.interpret.store import read_audio_16k, save_interpretation

    site, config, features = Site.parse(item), params.interpret, Features.load(paths.features(item))
    if site.is_decoder:  # its positions are tokens, at no known time
        config = config.model_copy(update={"clip_features": 0})
    rows = spread_utterances(features.index, config.max_frames)
    if len(rows) < len(features.index):
        log.warning("%s: %d of %d frames are used (interpret.max_frames)", item, len(rows), len(features.index))
    index = features.index.iloc[rows].reset_index(drop=True)
    inputs = site_inputs(site.form, features.values if len(rows) == len(features.values) else features.values[rows])
    model = load_sae(paths.sae_model(item), setup_torch(params.compute, config.seed))
    fired = activations(model, inputs)
    result = interpret(fired, index, config, workers=params.compute.workers)
    start = untrained(model, site_frames(site.form, features, "train"), config.seed)
    others = {int(f.name[5:]): load_sae(f, model.W_dec.device) for f in sorted(paths.sae_model(item).glob("seed_*"))}
    compared = compare(model, fired, start, others, inputs, index, result.phones, config)
    files = Manifest.load(paths.MANIFEST).by_utterance("path")
    with atomic_dir(paths.interpretation(item)) as folder:
        audio = partial(read_audio_16k, {name: paths.CORPUS / path for name, path in files.items()})
        save_interpretation(folder, result, fired, audio, config.clip_s)
    write_csv(paths.interpret_metrics(item), result.features[list(COLUMNS)], significant_digits=4)
    write_csv(paths.interpret_baselines(item), compared.baselines)
    write_csv(paths.interpret_sparse(item), compared.sparse)
    write_csv(paths.interpret_stability(item), compared.stability)
    figures = write_figures(paths.interpret_plots(item), draw_site(result, index, item, config))
    return StageReport(metrics=result.scores, figures=figures).saved(paths.interpret_scores(item))
