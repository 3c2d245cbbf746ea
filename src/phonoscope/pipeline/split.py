"""Stage `split`: train and eval utterances, and speaker folds."""

from __future__ import annotations

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage


@stage("split", params=["split"])
def run(params: Params) -> StageReport:
    """Write the sorted utterance ids of train and eval, and the speaker folds."""
    from phonoscope.corpus.split import make_split, split_metrics
    from phonoscope.data import Manifest

    manifest = Manifest.load(paths.MANIFEST)
    split = make_split(manifest, params.split)
    split.save(paths.SPLIT)
    return StageReport(split_metrics(manifest, split)).saved(paths.stage_metrics("split"))
