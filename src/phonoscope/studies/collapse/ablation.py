"""The ablation: train every variant from every seed, measure it after each epoch, and check the trained model."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from phonoscope.compute import derive_seed, limit_threads, parallel_map, setup_torch
from phonoscope.config.compute import ComputeConfig
from phonoscope.config.vq import VqConfig
from phonoscope.files import write_json, write_safetensors
from phonoscope.studies.collapse.checks import check_codebook, check_gradient, check_state
from phonoscope.studies.collapse.classifier import DigitClassifier
from phonoscope.studies.collapse.evaluation import Evaluator, Record, Rows, joined
from phonoscope.studies.collapse.features import DIGITS, Batch, Material, augment, batches
from phonoscope.studies.collapse.variants import UNSCALED, Variant, runs

START_BATCHES = 8  # training batches that the codebook and the sequence model start from
KEPT_VECTORS = 1000  # most encoder outputs of each split that are kept for the figures
TRACKED = ("accuracy", "loss", "perplexity_batch", "perplexity_dataset", "perplexity_ema", "active_codes", "drift")


@dataclass(frozen=True)
class RunResult:
    """The results of one run."""

    variant: str
    index: int  # number of the seed, from 1
    rows: Rows  # measures by seed, mode (fit, eval, train), split, epoch, step and batch; batch 0 is all of them
    checks: dict[str, float]  # of the trained model, by name; see `phonoscope.studies.collapse.checks`
    weights: dict[str, Tensor]  # the trained model's state
    evidence: dict[str, Tensor]  # `train` and `eval`: encoder outputs [at most `KEPT_VECTORS`, dim], L2-normalised


class Run:
    """A variant's training from one seed."""

    def __init__(self, variant: Variant, index: int, config: VqConfig, material: Material) -> None:
        self.index, self.material = index, material
        self.config, self.frozen_epochs = variant.settings(config), variant.frozen_epochs(config)
        self.seed = derive_seed(config.seed, "run", index)
        torch.manual_seed(self.seed)
        mels = material.train.mel.shape[1]
        self.model = DigitClassifier(variant, self.config, mels=mels, classes=material.classes, seed=self.seed)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=self.config.lr, fused=True)
        self.evaluator = Evaluator(material, config.seed, batch_size=self.config.batch_size, beta=self.config.beta)
        self.noise = torch.Generator().manual_seed(derive_seed(self.seed, "augment"))
        self.rows: Rows = []
        self.step = self.epoch = 0

    @property
    def steps(self) -> int:
        """Length of the run in steps."""
        per_epoch = math.ceil(len(self.material.train) / self.config.batch_size)
        return self.config.epochs * per_epoch or self.config.steps

    @property
    def vq_weight(self) -> float:
        """Weight of the quantizer's loss in this epoch (from 1): it rises from 0 over the warm-up."""
        risen = min(1.0, (self.epoch - 1) / self.config.warmup_epochs) if self.config.warmup_epochs else 1.0
        return self.config.vq_weight * risen

    def train(self) -> None:
        """Start from data, then train to the end, measuring after every epoch."""
        order = np.random.default_rng(derive_seed(self.seed, "start")).permutation(len(self.material.train))
        some = self.material.train.batch(order[: START_BATCHES * self.config.batch_size])
        self.model.start(some.mel, some.lengths, data_driven=self.config.start == "data")
        while self.step < self.steps:
            self.epoch += 1
            learned = self._learn_epoch()
            self.model.eval()
            passes = self.evaluator.passes(self.model)
            self._add("fit", [self.evaluator.fit_row(self.model, learned, passes, self.vq_weight)])
            self._add("eval", self.evaluator.rows(self.model, passes, self.vq_weight, each=self.step == self.steps))

    def _learn_epoch(self) -> list[Record]:
        """One epoch, or the rest of the run; returns the records of its batches."""
        order = np.random.default_rng(derive_seed(self.seed, "order", self.epoch)).permutation(len(self.material.train))
        self.model.train()
        self.model.encoder.requires_grad_(self.epoch > self.frozen_epochs)
        rest = batches(order, self.config.batch_size)[: self.steps - self.step]
        return [self._learn(self.material.train.batch(clips)) for clips in rest]

    def _learn(self, batch: Batch) -> Record:
        batch = augment(batch, self.noise) if self.config.augment else batch
        decision = self.model(batch.mel, batch.lengths)
        loss = F.cross_entropy(decision.logits, batch.labels)
        if decision.quantized:
            loss = loss + self.vq_weight * (self.config.beta * decision.quantized.commitment)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        # the ELBO under the posteriors that gave this pass, so before they learn from it
        elbo = self.model.elbo(decision, utterances=len(self.material.train))
        self.model.learn(decision, utterances=len(self.material.train))
        self.step += 1
        return Record.of(decision, batch.labels, elbo)

    def _add(self, mode: str, rows: Rows) -> None:
        place = {"seed": self.index, "mode": mode, "epoch": self.epoch, "step": self.step}
        self.rows += [place | row for row in rows]

    def result(self, name: str) -> RunResult:
        """The measures, and checks of the trained model."""
        learner = copy.deepcopy(self.model).train()  # whose codebook learns from the test data
        self._add("train", self.evaluator.rows(learner, self.evaluator.passes(learner), self.vq_weight, each=True))
        passes = self.evaluator.passes(self.model)
        checks = check_state(self.model, self.evaluator)
        checks |= check_gradient(self.model, self.evaluator.batches("eval")[0])
        checks |= check_codebook(self.model, self.evaluator)
        evidence = {split: torch.from_numpy(joined(passes[split])[:KEPT_VECTORS]) for split in ("train", "eval")}
        weights = {key: value.detach().clone() for key, value in self.model.state_dict().items()}
        return RunResult(name, self.index, self.rows, checks, weights, evidence)


def train_run(job: tuple[Variant, int], *, config: VqConfig, material: Material, compute: ComputeConfig) -> RunResult:
    """Train one variant from one seed; the result does not depend on the process that it runs in."""
    variant, index = job
    # on the CPU: with batches of 32 short clips an accelerator would be idle
    setup_torch(compute.model_copy(update={"device": "cpu"}), config.seed)
    # filling takes a tenth of the time, and every element is written to anyway
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    with limit_threads(compute.torch_threads):
        run = Run(variant, index, config, material)
        run.train()
        return run.result(variant.name)


def train_all(config: VqConfig, material: Material, compute: ComputeConfig) -> dict[Variant, list[RunResult]]:
    """Every variant trained from each of its seeds; the results of a variant in the order of its seeds."""
    jobs = runs(config)
    train = partial(train_run, config=config, material=material, compute=compute)
    # the slow ones first, so that no worker is left with one at the end
    order = sorted(jobs, key=lambda job: -len(job[0].name.removesuffix(UNSCALED)))
    results = parallel_map(train, order, workers=compute.workers, description="runs")
    variants = dict.fromkeys(variant for variant, _ in jobs)
    return {variant: [one for one in results if one.variant == variant.name] for variant in variants}


def write_models(folder: Path, variant: Variant, results: Sequence[RunResult], config: VqConfig) -> None:
    """Write a variant's checks, weights (model_<n>.safetensors is seed n's) and the first seed's evidence."""
    described = {"variant": variant.name, "classes": DIGITS, "update": variant.update, "sequence": variant.sequence}
    write_json(folder / "config.json", described | {"settings": variant.settings(config).model_dump(mode="json")})
    write_json(folder / "checks.json", {str(result.index): result.checks for result in results})
    for result in results:
        name = "model" if result.index == 1 else f"model_{result.index}"
        write_safetensors(folder / f"{name}.safetensors", result.weights, described | {"seed": result.index})
    write_safetensors(folder / "evidence.safetensors", results[0].evidence, described)


def by_epoch(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[float]]:
    """Measures in eval mode by epoch, as medians over the seeds: `<variant>.<split>.<measure>`."""
    series: dict[str, list[float]] = {}
    for variant, table in tables.items():
        rows = table[(table["mode"] == "eval") & (table["batch"] == 0)]
        for split, part in rows.groupby("split"):
            medians = part.groupby("epoch")[[name for name in TRACKED if name in part]].median()
            series |= {f"{variant}.{split}.{name}": medians[name].tolist() for name in medians}
    return series
