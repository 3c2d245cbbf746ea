"""Stage `causal@<site>`: features ablated, steered and patched while Whisper listens."""

from __future__ import annotations

from functools import partial

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.config.sites import Site
from phonoscope.files import write_csv, write_json
from phonoscope.pipeline.base import StageReport, stage


@stage("causal", per="sae.sites", params=["causal", "whisper", "compute.torch_threads", "compute.device"])
def run(params: Params, item: str) -> StageReport:
    """Write metrics/causal/<site>.{json,csv}, metrics/patching/<site>.csv and plots/causal/<site>."""
    from phonoscope.causal.speech import TrialSpeech
    from phonoscope.causal.study import nothing_to_test, open_setting, run_study
    from phonoscope.compute import pick_device
    from phonoscope.data import Features
    from phonoscope.data.tables import read_frame
    from phonoscope.drawing import write_figures
    from phonoscope.pipeline.listening import utterances
    from phonoscope.report.causal import draw_site

    site, folder = Site.parse(item), paths.interpretation(item)
    if site.is_decoder:
        reason = "a decoder's positions are tokens, which have no phone; the tests need an encoder"
        study = nothing_to_test(site, reason)
    else:
        phones, features = (read_frame(folder / f"{name}.parquet") for name in ("phones", "features"))
        speech = TrialSpeech(utterances(), Features.load(paths.features(item)).index)
        workers = params.compute.workers if pick_device(params.compute.device).type == "cpu" else 1
        setting = partial(open_setting, site, paths.sae_model(item), params.whisper, params.compute)
        study = run_study(site, phones, features, speech, params.causal, setting, workers=workers)
    write_json(paths.causal_json(item), study.details)
    for path, table in {paths.causal_metrics: study.verdicts, paths.patching_metrics: study.patching}.items():
        write_csv(path(item), table.assign(site=item)[["site", *table.columns]])
    figures = draw_site(study.verdicts, study.patching, item, params.causal)
    return StageReport(metrics=study.metrics, figures=write_figures(paths.causal_plots(item), figures))
