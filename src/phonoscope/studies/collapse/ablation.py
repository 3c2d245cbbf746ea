"""One run of the ablation: train a variant from one seed, measuring it as it goes, and test what came out."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from phonoscope.compute import derive_seed, setup_torch
from phonoscope.config.compute import ComputeConfig
from phonoscope.studies.collapse.checks import check_codebook, check_gradient, check_state, train_mode_rows
from phonoscope.studies.collapse.classifier import DigitClassifier
from phonoscope.studies.collapse.evaluation import Evaluator, Material, Rows
from phonoscope.studies.collapse.features import Batch, augment, batches
from phonoscope.studies.collapse.measure import Record

if TYPE_CHECKING:
    from phonoscope.config.vq import VqConfig
    from phonoscope.studies.collapse.variants import Variant

START_BATCHES = 8
"""Training batches that the codebook and the sequence model start from."""
KEPT_VECTORS = 1000
"""Encoder outputs of each split that are kept for the figures, at most."""


@dataclass(frozen=True)
class RunResult:
    """What one run found."""

    variant: str
    index: int
    """Which of the variant's seeds, from 1."""
    rows: Rows
    """Measures by seed, mode (fit, eval, train), split, epoch, step and batch; batch 0 stands for all of them."""
    checks: dict[str, float]
    """Single findings about the trained model; see `phonoscope.studies.collapse.checks`."""
    weights: dict[str, Tensor]
    """The trained model's state."""
    evidence: dict[str, Tensor]
    """`train` and `eval`: encoder outputs [at most 1000, dim], L2-normalised."""


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
        self.step = 0
        self.epoch = 0

    @property
    def steps(self) -> int:
        """The run's length."""
        per_epoch = math.ceil(len(self.material.train) / self.config.batch_size)
        return self.config.epochs * per_epoch or self.config.steps

    @property
    def vq_weight(self) -> float:
        """Weight of the quantizer's loss in this epoch, the first being 1: it rises from 0 over the warm-up."""
        warmed = min(1.0, (self.epoch - 1) / self.config.warmup_epochs) if self.config.warmup_epochs else 1.0
        return self.config.vq_weight * warmed

    def train(self) -> None:
        """Start from data, then train to the end, measuring after every epoch."""
        order = np.random.default_rng(derive_seed(self.seed, "start")).permutation(len(self.material.train))
        some = self.material.train.batch(order[: START_BATCHES * self.config.batch_size])
        self.model.start(some.mel, some.lengths, data_driven=self.config.start == "data")
        while self.step < self.steps:
            self.epoch += 1
            self._measure_epoch(self._learn_epoch())

    def _learn_epoch(self) -> list[Record]:
        """One epoch, or what is left of the run; the records of its batches."""
        order = np.random.default_rng(derive_seed(self.seed, "order", self.epoch)).permutation(len(self.material.train))
        self.model.train()
        self.model.encoder.requires_grad_(self.epoch > self.frozen_epochs)
        left = itertools.islice(batches(order, self.config.batch_size), self.steps - self.step)
        return [self._learn(self.material.train.batch(clips)) for clips in left]

    def _learn(self, batch: Batch) -> Record:
        batch = augment(batch, self.noise) if self.config.augment else batch
        decision = self.model(batch.mel, batch.lengths)
        loss = F.cross_entropy(decision.logits, batch.labels)
        if decision.quantized:
            loss = loss + self.vq_weight * (self.config.beta * decision.quantized.commitment)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        elbo = self.model.elbo(decision, utterances=len(self.material.train))
        self.model.learn(decision, utterances=len(self.material.train))
        self.step += 1
        return Record.of(decision, batch.labels, elbo)

    def _measure_epoch(self, learned: list[Record]) -> None:
        self.model.eval()
        found = self.evaluator.passes(self.model)
        last = self.step == self.steps
        fit = self.evaluator.fit_row(self.model, learned, found, self.vq_weight)
        self._add("fit", [fit])
        self._add("eval", self.evaluator.rows(self.model, found, self.vq_weight, each=last))

    def _add(self, mode: str, rows: Rows) -> None:
        place = {"seed": self.index, "mode": mode, "epoch": self.epoch, "step": self.step}
        self.rows += [place | row for row in rows]

    def result(self, name: str) -> RunResult:
        """Test the trained model and hand everything over."""
        self._add("train", train_mode_rows(self.model, self.evaluator, self.vq_weight))
        found = self.evaluator.passes(self.model)
        checks = check_state(self.model, self.evaluator) | check_gradient(self.model, self.evaluator.first_batch())
        checks |= check_codebook(self.model, self.evaluator)
        vectors = {split: np.concatenate([one.vectors for one in found[split]]) for split in ("train", "eval")}
        evidence = {split: torch.from_numpy(each[:KEPT_VECTORS]) for split, each in vectors.items()}
        weights = {key: value.detach().clone() for key, value in self.model.state_dict().items()}
        return RunResult(name, self.index, self.rows, checks, weights, evidence)


def train_run(job: tuple[Variant, int], *, config: VqConfig, material: Material, compute: ComputeConfig) -> RunResult:
    """Train one variant from one of its seeds; the same result in whichever process it runs."""
    from threadpoolctl import threadpool_limits

    variant, index = job
    # on the CPU: batches of 32 short clips leave an accelerator idle
    setup_torch(compute.model_copy(update={"device": "cpu"}), config.seed)
    # filling takes a tenth of the time, and all of it is written to
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    with threadpool_limits(compute.torch_threads):
        run = Run(variant, index, config, material)
        run.train()
        return run.result(variant.name)
