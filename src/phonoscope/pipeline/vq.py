"""Stage `vq`: digit classifiers with and without a quantizer, an HDP and an HSMM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.config.params import Params
from phonoscope.pipeline.base import StageReport, stage

if TYPE_CHECKING:
    from phonoscope.config.vq import VqConfig
    from phonoscope.studies.collapse.features import Material


@stage("vq", params=["vq", "compute.torch_threads"])
def run(params: Params) -> StageReport:
    """Write models/vq/<variant> and metrics/vq/<variant>.csv of every variant."""
    import pandas as pd

    from phonoscope.config.compute import ComputeConfig
    from phonoscope.files import atomic_dir, write_csv
    from phonoscope.studies.collapse.ablation import by_epoch, train_all, write_models

    compute = ComputeConfig(workers=params.compute.workers, torch_threads=params.compute.torch_threads, device="cpu")
    results = train_all(params.vq, _material(params.vq), compute)
    tables = {each.name: pd.DataFrame([row for run in runs for row in run.rows]) for each, runs in results.items()}
    with atomic_dir(paths.VQ_MODELS) as models, atomic_dir(paths.VQ_METRICS) as metrics:
        for variant, runs in results.items():
            write_models(models / variant.name, variant, runs, params.vq)
            write_csv(metrics / f"{variant.name}.csv", tables[variant.name], significant_digits=6)
    return StageReport(by_epoch=by_epoch(tables))


def _material(config: VqConfig) -> Material:
    """The corpus's isolated digits of train and eval, as log-mel features."""
    from phonoscope.data import Manifest, Split
    from phonoscope.pipeline.speech import waveforms
    from phonoscope.studies.collapse.features import DIGITS, digit_clips

    split, manifest = Split.load(paths.SPLIT), Manifest.load(paths.MANIFEST)
    words, rate_hz = manifest.by_utterance("word"), config.sample_rate_hz
    sides = ([name for name in side if words.get(name) in DIGITS] for side in (split.train, split.eval))
    train, evaluation = (
        (waveforms(manifest, names, rate_hz), [DIGITS.index(words[name]) for name in names]) for names in sides
    )
    return digit_clips(train, evaluation, rate_hz, config.mels)
