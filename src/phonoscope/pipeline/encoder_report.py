"""Stage `encoder-report`: the arms of the code encoder, and the claims about it judged."""

from __future__ import annotations

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage

INPUTS = ("codes", "mel")
TASKS = ("word", "speaker")


@stage("encoder-report", params=["compute.device", "compute.torch_threads", "encoder"])
def run(params: Params) -> StageReport:
    """Write metrics/encoder-report (scores, differences, sizes, behaviour, verdicts; table.md) and plots/encoders."""
    import pandas as pd

    from phonoscope.compute import setup_torch
    from phonoscope.encoders import measures, study
    from phonoscope.pipeline.tables import read_table, write_report
    from phonoscope.pipeline.windows import read_codebooks, read_windows
    from phonoscope.report import encoders as report

    config = params.encoder
    train, evaluation = read_windows("codes", config, params.compute.workers)
    books = read_codebooks(config.codec, config.layers)
    arms = study.train_encoders("codes", config.arms, train, evaluation, books, config, params.compute)
    tables = [read_table(paths.encoder_metrics(kind), f"encoder@{kind}") for kind in INPUTS]
    tables += [study.score_table(arm, arms[arm], {}) for arm in config.arms]
    scores = pd.concat(tables, ignore_index=True)
    saved = [read_table(paths.encoder(kind) / "hits.csv", f"encoder@{kind}") for kind in INPUTS]
    hits = pd.concat([*saved, *(study.hits_table(arm, arms[arm]) for arm in config.arms)], ignore_index=True)
    differences = pd.DataFrame([study.compare(hits, arm, task) for arm in ("mel", *config.arms) for task in TASKS])
    setup_torch(params.compute, config.seed)
    encoder = study.build("codes", train.x.shape[1], config, codebooks=books)
    behaviour, sizes = measures.behaviour(encoder, study.full_windows(train, config.batch_size)), measures.sizes()
    judged = report.verdicts(sizes, behaviour, differences)
    curves = {kind: read_table(paths.encoder_training(kind), f"encoder@{kind}") for kind in INPUTS}
    figures = {
        "scores": report.draw_scores(scores, hits, study.majority_shares(train, evaluation)),
        "training": report.draw_curves(curves),
    }
    measured = pd.DataFrame({"metric": list(behaviour), "value": list(behaviour.values())})
    frames = {"scores": scores, "differences": differences, "sizes": sizes, "behaviour": measured, "verdicts": judged}
    text = report.markdown_tables(sizes, judged)
    images = write_report(paths.ENCODER_REPORT, frames, text, paths.ENCODER_PLOTS, figures)
    names = [f"{row.encoder}.{row.metric}.difference" for row in differences.itertuples()]
    metrics = dict(zip(names, differences["difference"].tolist(), strict=True))
    return StageReport(metrics, figures=images)
