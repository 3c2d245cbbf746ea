"""Stage `vq`: digit classifiers with and without a quantizer, an HDP and an HSMM, over updates and seeds."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from phonoscope import paths
from phonoscope.compute import parallel_map
from phonoscope.data import Manifest, Split
from phonoscope.files import atomic_dir, write_csv, write_json, write_safetensors
from phonoscope.pipeline.base import StageReport, stage
from phonoscope.pipeline.speech import waveforms
from phonoscope.studies.collapse.ablation import RunResult, train_run
from phonoscope.studies.collapse.evaluation import Material
from phonoscope.studies.collapse.features import DIGITS, digit_clips
from phonoscope.studies.collapse.variants import Variant, runs

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from phonoscope.config.params import Params
    from phonoscope.config.vq import VqConfig

DIGITS_OF_CSV = 6
TRACKED = ("accuracy", "loss", "perplexity_batch", "perplexity_dataset", "perplexity_ema", "active_codes", "drift")
"""Measures that MLflow gets by epoch; all of them are in metrics/vq."""


@stage(
    "vq",
    desc="Digit classifiers with a codebook, under a faulty and the right update",
    params=["vq", "compute.torch_threads"],
)
def run(params: Params) -> StageReport:
    """Write models/vq/<variant> and metrics/vq/<variant>.csv of every variant."""
    config = params.vq
    train = partial(train_run, config=config, material=_material(config), compute=params.compute)
    # the slow ones first, so that no worker is left with one at the end; the results' order does not matter
    jobs = sorted(runs(config), key=lambda job: -len(job[0].name.removesuffix("_unscaled")))
    results = parallel_map(train, jobs, workers=params.compute.workers, description="runs")
    tables: dict[str, pd.DataFrame] = {}
    with atomic_dir(paths.VQ_MODELS) as models, atomic_dir(paths.VQ_METRICS) as metrics:
        for variant in dict.fromkeys(variant for variant, _ in runs(config)):
            found = sorted((one for one in results if one.variant == variant.name), key=lambda one: one.index)
            _write_models(models / variant.name, variant, found, config)
            tables[variant.name] = pd.DataFrame([row for one in found for row in one.rows])
            write_csv(metrics / f"{variant.name}.csv", tables[variant.name], DIGITS_OF_CSV)
    return _report(tables)


def _material(config: VqConfig) -> Material:
    """The corpus's isolated digits of train and eval, as log-mel features."""
    split, manifest = Split.load(paths.SPLIT), Manifest.load(paths.MANIFEST)
    words = {name: word for name, word in manifest.by_utterance("word").items() if word in DIGITS}

    def side(name: str) -> tuple[list[NDArray[np.float32]], list[int]]:
        digits = [utterance for utterance in getattr(split, name) if utterance in words]
        audio = waveforms(manifest, digits, config.sample_rate_hz)
        return audio, [DIGITS.index(words[utterance]) for utterance in digits]

    return Material(*digit_clips(side("train"), side("eval"), config.sample_rate_hz, config.mels), len(DIGITS))


def _write_models(folder: Path, variant: Variant, found: list[RunResult], config: VqConfig) -> None:
    """model.safetensors of the first seed, model_<n>.safetensors of the others; evidence of the first; all checks."""
    described = {"variant": variant.name, "classes": DIGITS, "update": variant.update, "sequence": variant.sequence}
    write_json(folder / "config.json", described | {"settings": variant.settings(config).model_dump(mode="json")})
    write_json(folder / "checks.json", {str(one.index): one.checks for one in found})
    for one in found:
        name = "model" if one.index == 1 else f"model_{one.index}"
        write_safetensors(folder / f"{name}.safetensors", one.weights, described | {"seed": one.index})
    write_safetensors(folder / "evidence.safetensors", found[0].evidence, described)


def _report(tables: dict[str, pd.DataFrame]) -> StageReport:
    """The measures in eval() mode by epoch, as medians over the seeds."""
    by_epoch: dict[str, list[float]] = {}
    for variant, table in tables.items():
        rows = table[(table["mode"] == "eval") & (table["batch"] == 0)]
        for split, own in rows.groupby("split"):
            medians = own.groupby("epoch")[[name for name in TRACKED if name in own]].median()
            by_epoch |= {f"{variant}.{split}.{name}": medians[name].tolist() for name in medians}
    return StageReport(by_epoch=by_epoch)
