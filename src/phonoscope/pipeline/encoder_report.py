"""Stage `encoder-report`: the arms of the code encoder, and the claims about it judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.pipeline.base import StageReport, stage

if TYPE_CHECKING:
    from phonoscope.config.params import Params

INPUTS = ("codes", "mel")
METRICS = ("accuracy_word", "macro_f1_word", "accuracy_speaker", "macro_f1_speaker")


@stage(
    "encoder-report",
    desc="The arms of the code encoder, and the claims about it judged",
    params=["compute.device", "compute.torch_threads", "encoder"],
)
def run(params: Params) -> StageReport:
    """Write metrics/encoder-report (scores, differences, sizes, behaviour, verdicts; table.md) and plots/encoders."""
    import pandas as pd

    from phonoscope.compute import setup_torch
    from phonoscope.drawing import write_figures
    from phonoscope.encoders import measures, study
    from phonoscope.files import write_csv, write_text
    from phonoscope.pipeline.tables import read_table
    from phonoscope.pipeline.windows import read_codebooks, read_windows
    from phonoscope.report import encoders as report

    config = params.encoder
    train, evaluation = read_windows("codes", config, params.compute.workers)
    books = read_codebooks(config.codec, config.layers)
    arms = study.train_encoders("codes", config.arms, train, evaluation, books, config, params.compute)
    tables = [read_table(paths.encoder_metrics(kind), f"encoder@{kind}") for kind in INPUTS]
    tables += [study.score_table(arm, arms[arm], {}) for arm in config.arms]
    scores = pd.concat(tables, ignore_index=True)
    differences = pd.DataFrame([study.compare(scores, arm, name) for arm in ("mel", *config.arms) for name in METRICS])
    setup_torch(params.compute, config.seed)
    encoder = study.build("codes", train.x.shape[1], config, codebooks=books)
    behaviour, sizes = measures.behaviour(encoder, study.full_windows(train, config.batch_size)), measures.sizes()
    judged = report.verdicts(sizes, behaviour, differences)
    curves = {kind: read_table(paths.encoder_training(kind), f"encoder@{kind}") for kind in INPUTS}
    figures = {
        "scores": report.draw_scores(scores, study.majority_shares(train, evaluation)),
        "training": report.draw_curves(curves),
    }
    measured = pd.DataFrame({"metric": list(behaviour), "value": list(behaviour.values())})
    frames = {"scores": scores, "differences": differences, "sizes": sizes, "behaviour": measured, "verdicts": judged}
    for name, frame in frames.items():
        write_csv(paths.ENCODER_REPORT / f"{name}.csv", frame)
    write_text(paths.ENCODER_REPORT / "table.md", report.markdown_tables(sizes, judged))
    names = [f"{row.encoder}.{row.metric}.difference" for row in differences.itertuples()]
    metrics = dict(zip(names, differences["difference"].tolist(), strict=True))
    return StageReport(metrics, figures=write_figures(paths.ENCODER_PLOTS, figures))
