"""Passing clips through a classifier and measuring it, alike on train and on eval."""

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
"""The batches of `train`, of `eval`, and of `other`, as many further clips of train."""
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Material:
    """The clips of train and eval, and how many classes their labels count."""

    train: Clips
    held_out: Clips
    classes: int


class Evaluator:
    """Measures all of eval, as many clips of train, and compares these with as many others of train.

    The clips of train are drawn from `seed`, and those of eval are shuffled by it: a batch of one word and one voice
    would use fewer codes than a mixed one. `beta` weighs the commitment loss within the quantizer's.
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
        """All batches, in the model's present mode: whether it learns from them is its own business."""
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

    def rows(self, model: DigitClassifier, found: Passes, vq_weight: float, *, each: bool = False) -> Rows:
        """A row for train and one for eval, as batch 0; if `each`, also one for every batch, from 1.

        `drift` is that of train from the other clips of train, and that of eval from train.
        """
        counts, rows = vector_counts(found), []
        for split, compared in (("train", "other"), ("eval", "train")):
            reference, records = _vectors(found[compared]), found[split]
            whole = measure(records, counts, reference, model, beta=self.beta, vq_weight=vq_weight)
            rows.append({"split": split, "batch": 0, **whole})
            for batch, (count, record) in enumerate(zip(counts, records, strict=False), start=1):
                if each and count:
                    own = measure([record], [count], reference, model, beta=self.beta, vq_weight=vq_weight)
                    rows.append({"split": split, "batch": batch, **own})
        return rows

    def fit_row(
        self, model: DigitClassifier, learned: Sequence[Record], found: Passes, vq_weight: float
    ) -> dict[str, Any]:
        """The row of an epoch's last training batches, as they were augmented, as many as are measured of train.

        `drift` is theirs from the clips as such. `restart_share` is that of all the epoch's batches: restarts may come
        in every twentieth only.
        """
        latest = learned[-self.batches :]
        counts = [min(count, len(one.vectors)) for count, one in zip(vector_counts(found), latest, strict=False)]
        row = measure(latest, counts, _vectors(found["train"]), model, beta=self.beta, vq_weight=vq_weight)
        if model.quantizer:
            codes = len(model.quantizer.codebooks()[0])
            row["restart_share"] = float(np.mean([one.restarted for one in learned]) / codes)
        return {"split": "train", "batch": 0, **row}


def vector_counts(found: Passes) -> list[int]:
    """How many vectors of each batch of train and eval are measured, the same number of both."""
    return paired_counts(*([len(record.vectors) for record in found[split]] for split in ("train", "eval")))


def _vectors(records: Sequence[Record]) -> NDArray[np.float32]:
    return np.concatenate([record.vectors for record in records])
