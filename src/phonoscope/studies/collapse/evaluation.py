"""Evaluation of a classifier and its codebook, in the same way on train, on eval and during training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from phonoscope.compute import derive_seed
from phonoscope.stats import evenly_spaced
from phonoscope.studies.collapse.classifier import Decision, DigitClassifier
from phonoscope.studies.collapse.features import Batch, Material, batches
from phonoscope.vq.quantizers import Quantizer
from phonoscope.vq.usage import active_codes, perplexity, perplexity_clamped

DRIFT_VECTORS = 256  # most vectors that a drift is computed from, since its cost is quadratic
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Record:
    """One pass of a batch of B clips with N encoder frames, without gradients."""

    labels: NDArray[np.int64]  # [B]
    correct: NDArray[np.bool_]  # [B]
    cross_entropy: NDArray[np.float64]  # [B]
    lengths: NDArray[np.int64]  # [B]
    vectors: NDArray[np.float32]  # [N, dim]: L2-normalised encoder outputs
    passed: NDArray[np.float32]  # [N, dim]: the quantizer's output for them
    codes: NDArray[np.int64]  # [N]; empty without a quantizer
    restarted: int  # dead codes replaced in this pass
    elbo: float  # the sequence model's evidence lower bound in nats per frame; 0 without one

    @classmethod
    def of(cls, decision: Decision, labels: Tensor, elbo: float) -> Self:
        """The record of a pass."""
        logits, quantized = decision.logits.detach(), decision.quantized
        return cls(
            labels.numpy(),
            (logits.argmax(dim=1) == labels).numpy(),
            F.cross_entropy(logits, labels, reduction="none").double().numpy(),
            decision.lengths.numpy(),
            decision.vectors.detach().numpy(),
            decision.passed.detach().numpy(),
            quantized.codes[:, 0].numpy() if quantized else np.empty(0, dtype=np.int64),
            sum(quantized.restarted) if quantized else 0,
            elbo,
        )


Passes = dict[str, list[Record]]
"""Records of the batches of `train`, `eval`, and `other`: as many further clips of train."""


class Evaluator:
    """Measures all clips of eval and as many of train, and compares the latter with as many others of train.

    `seed` shuffles the clips: a batch of one word and one voice would use fewer codes than a mixed one. `beta`: weight
    of the commitment loss within the quantizer's loss.
    """

    def __init__(self, material: Material, seed: int, *, batch_size: int, beta: float) -> None:
        self.material, self.batch_size, self.beta = material, batch_size, beta
        rng = np.random.default_rng(derive_seed(seed, "panel"))
        order, held_out = rng.permutation(len(material.train)), rng.permutation(len(material.held_out))
        size = max(1, min(len(held_out), len(order) // 2))
        self.chosen = {"train": order[:size], "other": order[-size:], "eval": held_out}

    def batches(self, split: str) -> list[Batch]:
        """The batches of `train`, `other` or `eval`."""
        clips = self.material.held_out if split == "eval" else self.material.train
        return [clips.batch(some) for some in batches(self.chosen[split], self.batch_size)]

    @torch.no_grad()
    def passes(self, model: DigitClassifier) -> Passes:
        """Records of all batches, in the model's present mode; in train() mode the codebook learns from them."""
        return {split: [self._pass(model, batch) for batch in self.batches(split)] for split in self.chosen}

    def _pass(self, model: DigitClassifier, batch: Batch) -> Record:
        decision = model(batch.mel, batch.lengths)
        return Record.of(decision, batch.labels, model.elbo(decision, utterances=len(self.material.train)))

    def rows(self, model: DigitClassifier, passes: Passes, vq_weight: float, *, each: bool = False) -> Rows:
        """A row for train and one for eval, as batch 0; if `each`, also one for every batch, from 1.

        `drift` of train is from the other clips of train, `drift` of eval is from train.
        """
        counts, weight, rows = vector_counts(passes), vq_weight * self.beta, []
        for split, compared in (("train", "other"), ("eval", "train")):
            reference, records = joined(passes[compared]), passes[split]
            rows.append({"split": split, "batch": 0, **measure(records, counts, reference, model, weight)})
            for batch, (count, record) in enumerate(zip(counts, records, strict=False), start=1):
                if each and count:
                    single = measure([record], [count], reference, model, weight)
                    rows.append({"split": split, "batch": batch, **single})
        return rows

    def fit_row(
        self, model: DigitClassifier, learned: Sequence[Record], passes: Passes, vq_weight: float
    ) -> dict[str, Any]:
        """The row of an epoch's last training batches, augmented, as many as are measured of train.

        `drift` is from the clips without augmentation; `restart_share` is over all batches, since restarts are rare.
        """
        latest = learned[-math.ceil(len(self.chosen["train"]) / self.batch_size) :]
        counts = [min(count, len(one.vectors)) for count, one in zip(vector_counts(passes), latest, strict=False)]
        row = measure(latest, counts, joined(passes["train"]), model, vq_weight * self.beta)
        if model.quantizer:
            codes = len(model.quantizer.codebooks()[0])
            row["restart_share"] = float(np.mean([one.restarted for one in learned]) / codes)
        return {"split": "train", "batch": 0, **row}


def vector_counts(passes: Passes) -> list[int]:
    """Number of vectors of each batch that are measured, the same in train and eval; 0 after the end of either."""
    # perplexity and active codes grow with the number of vectors: unequal numbers would look like a difference
    lengths = ([len(record.vectors) for record in passes[split]] for split in ("train", "eval"))
    return [min(pair) for pair in zip_longest(*lengths, fillvalue=0)]


def measure(
    records: Sequence[Record],
    counts: Sequence[int],
    reference: NDArray[np.float32],
    model: DigitClassifier,
    commitment_weight: float,
) -> dict[str, float]:
    """Measures of batches: accuracy and losses over all clips, the rest over the first `counts` vectors of each batch.

    `drift` is from `reference` [M, dim]; `commitment`, part of the loss, is the mean squared distance to the codes.
    """
    vectors = joined(records, counts=counts)
    labels = joined(records, "labels")
    measures = {
        "clips": len(labels),
        "vectors": len(vectors),
        "majority": float(np.bincount(labels).max() / len(labels)),
        "accuracy": float(joined(records, "correct").mean()),
        "cross_entropy": float(joined(records, "cross_entropy").mean()),
        "drift": energy_coefficient(vectors, reference),
    }
    measures["loss"] = measures["cross_entropy"]
    if model.sequence:
        frames = [int(record.lengths.sum()) for record in records]
        measures["elbo"] = float(np.average([record.elbo for record in records], weights=frames))
    if model.quantizer:
        measures |= _codebook_measures(records, counts, vectors, model.quantizer)
        measures["loss"] += commitment_weight * measures["commitment"]
    return measures


def _codebook_measures(
    records: Sequence[Record], counts: Sequence[int], vectors: NDArray[np.float32], quantizer: Quantizer
) -> dict[str, float]:
    book, sizes = quantizer.codebooks()[0], quantizer.cluster_sizes()[0]
    batch_codes = [record.codes[:count] for record, count in zip(records, counts, strict=False) if count]
    batch_usage = [torch.bincount(torch.from_numpy(codes), minlength=len(book)) for codes in batch_codes]
    usage = torch.stack(batch_usage).sum(dim=0)
    distances = np.linalg.norm((vectors - joined(records, "passed", counts)).astype(np.float64), axis=1)
    norms = book.double().norm(dim=1)
    top = torch.argsort(usage, descending=True, stable=True)[:2].numpy()
    by_clip = [clip for record in records for clip in np.split(record.codes, np.cumsum(record.lengths)[:-1])]
    return {
        "commitment": float((distances**2).mean() / vectors.shape[1]),
        "perplexity_batch": float(torch.stack([perplexity(batch) for batch in batch_usage]).mean()),
        "perplexity_printed": float(torch.stack([perplexity_clamped(batch) for batch in batch_usage]).mean()),
        "perplexity_dataset": float(perplexity(usage)),
        "perplexity_ema": float(quantizer.perplexity_ema()[0]),
        "active_codes": int((usage > 0).sum()),
        "active_codes_ema": int(active_codes(sizes, 1e-3)),
        "code_norm": float(norms.mean()),
        "code_norm_used": float(norms[usage > 0].mean()),
        "code_norm_max": float(norms.max()),
        "ema_total": float(sizes.sum()),
        "distance": float(distances.mean()),
        "restart_share": float(np.mean([record.restarted for record in records]) / len(book)),
        "top_code": int(top[0]),
        "clips_on_top_2": float(np.mean([set(codes) <= set(top) for codes in by_clip if len(codes)])),
    }


def joined(records: Sequence[Record], name: str = "vectors", counts: Sequence[int] | None = None) -> NDArray[Any]:
    """An array of all batches, one after another, or only its first `counts` rows in each batch."""
    arrays = [getattr(record, name) for record in records]
    return np.concatenate([array[:count] for array, count in zip(arrays, counts, strict=False)] if counts else arrays)


def energy_coefficient(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> float:
    """Difference in distribution of two samples of vectors, [N, D] and [M, D]: from 0 (equal) to 1.

    The energy coefficient of inhomogeneity, (2 E|X-Y| - E|X-X'| - E|Y-Y'|) / 2 E|X-Y| (Szekely and Rizzo, 2013),
    from at most `DRIFT_VECTORS` evenly spaced vectors of each.
    """
    a, b = (vectors[evenly_spaced(len(vectors), DRIFT_VECTORS)] for vectors in (first, second))
    between, within_a, within_b = cdist(a, b).mean(), cdist(a, a).mean(), cdist(b, b).mean()
    # the means include the pairs of a vector with itself, so that only rounding can make the difference negative
    return float(max(0.0, 2 * between - within_a - within_b) / (2 * between)) if between else 0.0
