"""Stage `split`: train and eval utterances, and speaker folds."""

from __future__ import annotations

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage


@stage("split", params=["split"])
def run(params: Params) -> StageReport:
    """Write the sorted utterance ids of train and eval, and the speaker folds."""
    from phonoscope.corpus.split import make_split
    from phonoscope.data import Manifest

    split = make_split(Manifest.load(paths.MANIFEST), params.split)
    split.save(paths.SPLIT)
    return StageReport({"train": len(split.train), "eval": len(split.eval)}).saved(paths.stage_metrics("split"))
