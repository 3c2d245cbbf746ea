"""Stage `split`: the manifest becomes `data/split.json`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.pipeline.base import StageReport, stage

if TYPE_CHECKING:
    from phonoscope.config.params import Params


@stage(
    "split",
    desc="Train and eval utterances, and speaker folds",
    params=["split"],
)
def run(params: Params) -> StageReport:
    """Write the sorted utterance ids of train and eval, and the speaker folds."""
    from phonoscope.corpus.split import make_split
    from phonoscope.data import Manifest
    from phonoscope.files import write_csv

    split = make_split(Manifest.load(paths.MANIFEST), params.split)
    split.save(paths.SPLIT)
    report = StageReport(metrics={"train": len(split.train), "eval": len(split.eval)})
    write_csv(paths.stage_metrics("split"), report.table())
    return report
