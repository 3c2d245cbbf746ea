"""Stage `features`: Whisper's activations at every site."""

from __future__ import annotations

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.files import atomic_dir
from phonoscope.pipeline.base import StageReport, stage


@stage("features", params=["whisper", "sae.sites", "compute.torch_threads", "compute.device"])
def run(params: Params) -> StageReport:
    """Write data/features/<site> of every site in `sae.sites`, and metrics/features.csv."""
    from phonoscope.config.sites import Site
    from phonoscope.data import Labels
    from phonoscope.pipeline.listening import utterances
    from phonoscope.whisper.collect import Collection, size_metrics, window_metrics, write_features
    from phonoscope.whisper.utterances import eval_utterances

    spoken, sites = utterances(), [Site.parse(name) for name in params.sae.sites]
    collection = Collection(spoken, sites, params.whisper, params.compute)
    with atomic_dir(paths.FEATURES) as folder:
        write_features(collection, Labels.load(paths.ALIGNMENTS), folder)
    compared = eval_utterances(spoken, params.whisper.compare) if params.whisper.compare else []
    metrics = size_metrics(collection) | window_metrics(collection, compared, paths.FEATURES)
    return StageReport(metrics).saved(paths.stage_metrics("features"))
