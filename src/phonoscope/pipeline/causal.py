"""Stage `causal@<site>`: effects of a site's phone detectors on the transcript, and of patched activations."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.config.sites import Site
from phonoscope.drawing import png
from phonoscope.errors import DataError
from phonoscope.files import atomic_dir, write_csv, write_json
from phonoscope.pipeline.base import StageReport, stage

if TYPE_CHECKING:
    from phonoscope.causal.study import CausalStudy
    from phonoscope.causal.trials import Setting
    from phonoscope.config.compute import ComputeConfig
    from phonoscope.config.params import Params
    from phonoscope.config.whisper import WhisperConfig


@stage(
    "causal",
    per="sae.sites",
    desc="Features ablated, steered and patched while Whisper listens",
    params=["causal", "whisper", "compute.torch_threads", "compute.device"],
)
def run(params: Params, item: str) -> StageReport:
    """Write metrics/causal/<site>.{json,csv}, metrics/patching/<site>.csv and plots/causal/<site>."""
    from phonoscope.report.causal import draw_features, draw_patching

    site, config = Site.parse(item), params.causal
    study = _study(site, params)
    write_json(paths.causal_json(item), study.details)
    for path, table in ((paths.causal_metrics(item), study.verdicts), (paths.patching_metrics(item), study.patching)):
        write_csv(path, table.assign(site=item)[["site", *table.columns]])
    figures = {}
    if len(study.patching):
        noise = f"{config.noise}, {config.snr_db:g} dB"
        figures["patching"] = draw_patching(study.patching, item, config.confidence, noise)
    if len(study.verdicts):
        figures["features"] = draw_features(study.verdicts, item, config.confidence)
    with atomic_dir(paths.causal_plots(item)) as folder:
        for name, figure in figures.items():
            (folder / f"{name}.png").write_bytes(png(figure))
    return StageReport(metrics=study.metrics, figures=[paths.causal_plots(item) / f"{name}.png" for name in figures])


def _study(site: Site, params: Params) -> CausalStudy:
    from phonoscope.causal.speech import TrialSpeech
    from phonoscope.causal.study import nothing_to_test, run_study
    from phonoscope.compute import pick_device
    from phonoscope.data import Features
    from phonoscope.data.tables import read_frame
    from phonoscope.pipeline.listening import utterances

    if site.is_decoder:
        return nothing_to_test(site, "a decoder's positions are tokens, which have no phone; the tests need an encoder")
    tables = [read_frame(paths.interpretation(site.name) / f"{name}.parquet") for name in ("phones", "features")]
    speech = TrialSpeech(utterances(), Features.load(paths.features(site.name)).index)
    workers = params.compute.workers if pick_device(params.compute.device).type == "cpu" else 1
    setting = partial(_setting, site, params.whisper, params.compute)
    try:
        return run_study(site, *tables, speech, params.causal, setting, workers=workers)
    except ValueError as error:
        raise DataError(
            f"{paths.interpretation(site.name)}: {error}; lower causal.features or raise sae.expansion"
        ) from error


def _setting(site: Site, whisper: WhisperConfig, compute: ComputeConfig) -> Setting:
    """Model and dictionary of a process."""
    from phonoscope.causal.trials import Setting
    from phonoscope.sae import load_sae
    from phonoscope.whisper.model import open_whisper

    model = open_whisper(whisper.checkpoint, compute)
    return Setting(
        model, site, load_sae(paths.sae_model(site.name), model.device), whisper.normalize, whisper.context_s
    )
