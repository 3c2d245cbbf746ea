"""Stage `align`: words, phones and F0 of every utterance."""

from __future__ import annotations

from pathlib import Path

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.errors import NotApplicable
from phonoscope.files import atomic_dir, write_csv
from phonoscope.pipeline.base import StageReport, named_parameters, stage


@stage(
    "align",
    params=["alignment", "corpus.max_rejected"],
    folders=lambda params: [] if params.alignment.method == "forced" else ["alignment.root"],
)
def run(params: Params) -> StageReport:
    """Write data/alignments: TextGrids, phones.parquet, words.parquet, f0.parquet, rejected.csv and by_rule.csv."""
    import numpy as np

    from phonoscope.alignment.corpus import align_corpus, plan
    from phonoscope.alignment.textgrid import find_textgrids
    from phonoscope.data import Labels, Manifest
    from phonoscope.data.phones import SILENCE
    from phonoscope.data.tables import read_frame

    config = params.alignment
    given = find_textgrids(Path(config.root)) if config.method in ("auto", "given") else {}
    jobs = plan(Manifest.load(paths.MANIFEST), read_frame(paths.PHONE_EVENTS), given)
    if not any(job.text or job.events or job.given for job in jobs):
        raise NotApplicable("no utterance has a transcript or a TextGrid")
    with named_parameters("alignment"), atomic_dir(paths.ALIGNMENTS) as folder:
        outcome = align_corpus(
            *(jobs, paths.CORPUS, folder, config, paths.shards("align")),
            max_rejected=params.corpus.max_rejected,
            workers=params.compute.workers,
        )
        rejected, by_rule = (outcome[outcome[column] != ""] for column in ("reason", "by_rule"))
        write_csv(folder / paths.REJECTED.name, rejected[["path", "reason"]])
        write_csv(folder / "by_rule.csv", by_rule[["path", "by_rule"]])
    aligned = outcome["method"][outcome["reason"] == ""]
    labels = Labels.load(paths.ALIGNMENTS)
    f0_hz = labels.f0_table["f0_hz"].to_numpy()
    metrics = {
        "aligned": float(len(aligned)),
        **{method: float((aligned == method).sum()) for method in ("given", "events", "forced")},
        "rejected": float(len(rejected)),
        "with_words_by_rule": float(len(by_rule)),
        "phones": float(len(set(labels.phone_names) - {SILENCE})),
        "voiced_share": float(np.isfinite(f0_hz).mean()) if len(f0_hz) else 0.0,
    }
    return StageReport(metrics).saved(paths.stage_metrics("align"))
