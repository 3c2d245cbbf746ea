"""Stage `encoder-report`: the arms of the code encoder, and every claim about it, measured."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from phonoscope import paths
from phonoscope.compute import parallel_map, setup_torch
from phonoscope.drawing import png
from phonoscope.encoders.claims import Claim, accuracy_claims, behaviour_claims, markdown, size_claims
from phonoscope.encoders.figures import draw_curves, draw_scores
from phonoscope.encoders.study import Job, build, compare, run_job
from phonoscope.files import atomic_dir, atomic_file, write_csv
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.encoder import score_table
from phonoscope.pipeline.tables import read_table
from phonoscope.pipeline.windows import read_codebooks, read_windows

if TYPE_CHECKING:
    from phonoscope.config.params import Params
    from phonoscope.encoders.train import Trained
    from phonoscope.encoders.windows import Windows

INPUTS = ("codes", "mel")
METRICS = ("accuracy_word", "macro_f1_word", "accuracy_speaker", "macro_f1_speaker")


@stage(
    "encoder-report",
    desc="The arms of the code encoder, and every claim about it",
    params=["encoder", "compute.torch_threads", "compute.device"],
)
def run(params: Params) -> StageReport:
    """Write metrics/encoder-report (arms, differences, claims) and plots/encoders (two figures)."""
    train, evaluation = read_windows("codes", params.encoder, params.compute.workers)
    arms = _train_arms(params, train, evaluation)
    scores = pd.concat(
        [read_table(paths.encoder_metrics(kind), f"encoder@{kind}") for kind in INPUTS]
        + [score_table(arm, trained, {}) for arm, trained in arms.items()],
        ignore_index=True,
    )
    others = ["mel", *arms]
    rows = [compare(scores, other, metric) for other in others for metric in METRICS]
    differences = pd.DataFrame(rows)
    claims = [*size_claims(), *_behaviour(params, train), *accuracy_claims(differences)]
    curves = {kind: read_table(paths.encoder_training(kind), f"encoder@{kind}") for kind in INPUTS}
    write_csv(paths.ENCODER_REPORT / "scores.csv", scores)
    write_csv(paths.ENCODER_REPORT / "differences.csv", differences)
    with atomic_file(paths.ENCODER_REPORT / "claims.md") as temporary:
        temporary.write_text(markdown(claims), encoding="utf-8")
    with atomic_dir(paths.ENCODER_PLOTS) as folder:
        (folder / "scores.png").write_bytes(png(draw_scores(scores, _chance(train, evaluation))))
        (folder / "training.png").write_bytes(png(draw_curves(curves)))
    metrics = {f"{row['encoder']}.{row['metric']}.difference": row["difference"] for row in rows}
    return StageReport(metrics, figures=[paths.ENCODER_PLOTS / f"{name}.png" for name in ("scores", "training")])


def _train_arms(params: Params, train: Windows, evaluation: Windows) -> dict[str, list[Trained]]:
    config = params.encoder
    jobs = [Job("codes", seed, arm) for arm in config.arms for seed in range(config.seeds)]
    trained = parallel_map(
        partial(
            run_job,
            train=train,
            evaluation=evaluation,
            codebooks=read_codebooks(config.codec, config.layers),
            config=config,
            compute=params.compute,
        ),
        jobs,
        workers=params.compute.workers,
        description="arms",
    )
    return {arm: [t for job, t in zip(jobs, trained, strict=True) if job.arm == arm] for arm in config.arms}


def _behaviour(params: Params, train: Windows) -> list[Claim]:
    """Measured on train windows that are full, or else on the longest there are."""
    setup_torch(params.compute, params.encoder.seed)
    frames = int(train.lengths.max())
    full = np.flatnonzero(train.lengths >= frames - 1)[: params.encoder.batch_size]
    codes = torch.from_numpy(train.x[full][:, :, : frames - 1].astype(np.int64))
    books = read_codebooks(params.encoder.codec, params.encoder.layers)
    return behaviour_claims(build("codes", train.x.shape[1], params.encoder, codebooks=books), codes)


def _chance(train: Windows, evaluation: Windows) -> dict[str, float]:
    """The share of eval windows that the most frequent class of the train windows gets right."""
    shares = {}
    for task, labels in evaluation.labels.items():
        known = train.labels[task][train.labels[task] >= 0]
        shares[task] = float((labels[labels >= 0] == np.bincount(known).argmax()).mean())
    return shares
