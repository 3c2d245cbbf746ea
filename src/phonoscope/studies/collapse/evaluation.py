"""Evaluation of a classifier, in the same way on train and on eval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from phonoscope.compute import derive_seed
from phonoscope.studies.collapse.features import Batch, Clips, batches
from phonoscope.studies.collapse.measure import Record, measure, paired_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.studies.collapse.classifier import DigitClassifier

Passes = dict[str, list[Record]]
"""Records of the batches of `train`, `eval`, and `other`: as many further clips of train."""
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Material:
    """The clips of train and eval, and the number of classes."""

    train: Clips
    held_out: Clips
    classes: int


class Evaluator:
    """Measures all clips of eval and as many of train, and compares the latter with as many others of train.

    `seed` draws the clips of train and shuffles those of eval: a batch of one word and one voice would use fewer codes
    than a mixed one. `beta`: weight of the commitment loss within the quantizer's loss.
    """

    def __init__(self, material: Material, seed: int, *, batch_size: int, beta: float) -> None:
        self.material, self.batch_size, self.beta = material, batch_size, beta
        rng = np.random.default_rng(derive_seed(seed, "panel"))
        order, held_out = rng.permutation(len(material.train)), rng.permutation(len(material.held_out))
        size = max(1, min(len(held_out), len(order) // 2))
        self.chosen = {"train": order[:size], "other": order[-size:], "eval": held_out}

    @property
    def batches(self) -> int:
        """Batches of train that are measured."""
        return math.ceil(len(self.chosen["train"]) / self.batch_size)

    @torch.no_grad()
    def passes(self, model: DigitClassifier) -> Passes:
        """Records of all batches, in the model's present mode; in train() mode the codebook learns from them."""
        train, held_out = self.material.train, self.material.held_out
        clips = {"train": train, "other": train, "eval": held_out}
        return {
            split: [self._pass(model, clips[split].batch(some)) for some in batches(chosen, self.batch_size)]
            for split, chosen in self.chosen.items()
        }

    def _pass(self, model: DigitClassifier, batch: Batch) -> Record:
        decision = model(batch.mel, batch.lengths)
        return Record.of(decision, batch.labels, model.elbo(decision, utterances=len(self.material.train)))

    def first_batch(self) -> Batch:
        """The first batch of eval."""
        return self.material.held_out.batch(self.chosen["eval"][: self.batch_size])

    def rows(self, model: DigitClassifier, passes: Passes, vq_weight: float, *, each: bool = False) -> Rows:
        """A row for train and one for eval, as batch 0; if `each`, also one for every batch, from 1.

        `drift` of train is from the other clips of train, `drift` of eval is from train.
        """
        counts, rows = vector_counts(passes), []
        for split, compared in (("train", "other"), ("eval", "train")):
            reference, records = _vectors(passes[compared]), passes[split]
            whole = measure(records, counts, reference, model, beta=self.beta, vq_weight=vq_weight)
            rows.append({"split": split, "batch": 0, **whole})
            for batch, (count, record) in enumerate(zip(counts, records, strict=False), start=1):
                if each and count:
                    single = measure([record], [count], reference, model, beta=self.beta, vq_weight=vq_weight)
                    rows.append({"split": split, "batch": batch, **single})
        return rows

    def fit_row(
        self, model: DigitClassifier, learned: Sequence[Record], passes: Passes, vq_weight: float
    ) -> dict[str, Any]:
        """The row of an epoch's last training batches, augmented, as many as are measured of train.

        `drift` is from the clips without augmentation. `restart_share` is over all batches of the epoch, since restarts
        happen only every `dead_window` steps.
        """
        latest = learned[-self.batches :]
        counts = [min(count, len(one.vectors)) for count, one in zip(vector_counts(passes), latest, strict=False)]
        row = measure(latest, counts, _vectors(passes["train"]), model, beta=self.beta, vq_weight=vq_weight)
        if model.quantizer:
            codes = len(model.quantizer.codebooks()[0])
            row["restart_share"] = float(np.mean([one.restarted for one in learned]) / codes)
        return {"split": "train", "batch": 0, **row}


def vector_counts(passes: Passes) -> list[int]:
    """Number of vectors of each batch that are measured, the same in train and eval."""
    return paired_counts(*([len(record.vectors) for record in passes[split]] for split in ("train", "eval")))


def _vectors(records: Sequence[Record]) -> NDArray[np.float32]:
    return np.concatenate([record.vectors for record in records])
