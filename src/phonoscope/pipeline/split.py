"""Stage `split`: the manifest becomes `data/split.json`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.corpus.split import make_split
from phonoscope.files import write_csv, write_json
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.tables import read_manifest

if TYPE_CHECKING:
    from phonoscope.config.params import Params


@stage(
    "split",
    desc="Train and eval utterances, and speaker folds",
    params=["split"],
)
def run(params: Params) -> StageReport:
    """Write the sorted utterance ids of train and eval, and the speaker folds."""
    split = make_split(read_manifest(), params.split)
    write_json(paths.SPLIT, asdict(split))
    report = StageReport(metrics={"train": len(split.train), "eval": len(split.eval)})
    write_csv(paths.stage_metrics("split"), report.table())
    return report
