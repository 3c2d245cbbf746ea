"""Measures of a classifier and its codebook, the same on train, on eval and during training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.distance import cdist
from torch import Tensor

from phonoscope.stats import evenly_spaced
from phonoscope.vq.usage import active_codes, perplexity, perplexity_clamped

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from phonoscope.studies.collapse.classifier import Decision, DigitClassifier
    from phonoscope.vq.quantizers import Quantizer

DRIFT_VECTORS = 256
"""Most vectors that a drift is computed from, since its cost is quadratic."""


@dataclass(frozen=True)
class Record:
    """One pass of a batch of B clips with N encoder frames."""

    labels: NDArray[np.int64]
    """[B]"""
    correct: NDArray[np.bool_]
    """[B]"""
    cross_entropy: NDArray[np.float64]
    """[B]"""
    lengths: NDArray[np.int64]
    """[B]"""
    vectors: NDArray[np.float32]
    """[N, dim]: L2-normalised encoder outputs."""
    passed: NDArray[np.float32]
    """[N, dim]: the quantizer's output for them."""
    codes: NDArray[np.int64]
    """[N]; empty without a quantizer."""
    restarted: int
    """Dead codes replaced in this pass."""
    elbo: float
    """The sequence model's evidence lower bound in nats per frame; 0 without one."""

    @staticmethod
    def of(decision: Decision, labels: Tensor, elbo: float) -> Record:
        """A record of a pass, detached."""
        logits, quantized = decision.logits.detach(), decision.quantized
        return Record(
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


def paired_counts(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """Number of vectors to measure per batch of two series: the smaller of both; 0 after the end of one series."""
    longest = max(len(first), len(second))
    padded = [[*series, *[0] * (longest - len(series))] for series in (first, second)]
    return [min(pair) for pair in zip(*padded, strict=True)]


def measure(
    records: Sequence[Record],
    counts: Sequence[int],
    reference: NDArray[np.float32],
    model: DigitClassifier,
    *,
    beta: float,
    vq_weight: float,
) -> dict[str, float]:
    """Measures of batches: accuracy and losses over all clips, the rest over the first `counts` vectors of each batch.

    reference: vectors [M, dim] with which `drift` compares the encoder's outputs. `loss` is the cross-entropy plus
    `vq_weight * beta * commitment`, where commitment is the mean squared distance to the codes.
    """
    vectors = _first(counts, [record.vectors for record in records])
    lengths = np.concatenate([record.lengths for record in records])
    measures = {
        "clips": len(lengths),
        "vectors": len(vectors),
        "majority": float(np.bincount(np.concatenate([record.labels for record in records])).max() / len(lengths)),
        "accuracy": float(np.concatenate([record.correct for record in records]).mean()),
        "cross_entropy": float(np.concatenate([record.cross_entropy for record in records]).mean()),
        "drift": energy_coefficient(vectors, reference),
    }
    measures["loss"] = measures["cross_entropy"]
    if model.sequence:
        frames = [int(record.lengths.sum()) for record in records]
        measures["elbo"] = float(np.average([record.elbo for record in records], weights=frames))
    if model.quantizer:
        measures |= _codebook_measures(records, counts, model.quantizer)
        measures["loss"] += vq_weight * beta * measures["commitment"]
    return measures


def _codebook_measures(records: Sequence[Record], counts: Sequence[int], quantizer: Quantizer) -> dict[str, float]:
    book, ema, sizes = quantizer.codebooks()[0], quantizer.perplexity_ema(), quantizer.cluster_sizes()
    size = len(book)
    vectors = _first(counts, [record.vectors for record in records])
    passed = _first(counts, [record.passed for record in records])
    batch_codes = [record.codes[:count] for record, count in zip(records, counts, strict=False) if count]
    batch_usage = [torch.bincount(torch.from_numpy(codes), minlength=size) for codes in batch_codes]
    usage = torch.stack(batch_usage).sum(dim=0)
    distances = np.linalg.norm((vectors - passed).astype(np.float64), axis=1)
    norms = book.double().norm(dim=1)
    top = torch.argsort(usage, descending=True, stable=True)[:2].numpy()
    return {
        "commitment": float((distances**2).mean() / vectors.shape[1]),
        "perplexity_batch": float(torch.stack([perplexity(batch) for batch in batch_usage]).mean()),
        "perplexity_printed": float(torch.stack([perplexity_clamped(batch) for batch in batch_usage]).mean()),
        "perplexity_dataset": float(perplexity(usage)),
        "perplexity_ema": float(ema[0]),
        "active_codes": int((usage > 0).sum()),
        "active_codes_ema": int(active_codes(sizes[0], 1e-3)),
        "code_norm": float(norms.mean()),
        "code_norm_used": float(norms[usage > 0].mean()),
        "code_norm_max": float(norms.max()),
        "ema_total": float(sizes[0].sum()),
        "distance": float(distances.mean()),
        "restart_share": float(np.mean([record.restarted for record in records]) / size),
        "top_code": int(top[0]),
        "clips_on_top_2": float(np.mean([set(codes) <= set(top) for codes in _by_clip(records)])),
    }


def _by_clip(records: Sequence[Record]) -> list[Any]:
    """Codes of each clip that has any."""
    return [
        codes for record in records for codes in np.split(record.codes, np.cumsum(record.lengths)[:-1]) if len(codes)
    ]


def _first(counts: Sequence[int], values: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The first `counts` rows of each batch, concatenated."""
    return np.concatenate([value[:count] for value, count in zip(values, counts, strict=False)])


def energy_coefficient(first: NDArray[np.floating[Any]], second: NDArray[np.floating[Any]]) -> float:
    """Difference in distribution of two samples of vectors, [N, D] and [M, D]: from 0 (equal) to 1.

    The energy coefficient of inhomogeneity, (2 E|X-Y| - E|X-X'| - E|Y-Y'|) / 2 E|X-Y| (Szekely and Rizzo, 2013),
    from at most `DRIFT_VECTORS` evenly spaced vectors of each.
    """
    a, b = _thin(first), _thin(second)
    between, within_a, within_b = cdist(a, b).mean(), cdist(a, a).mean(), cdist(b, b).mean()
    return float(max(0.0, 2 * between - within_a - within_b) / (2 * between)) if between else 0.0


def _thin(vectors: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    return vectors[evenly_spaced(len(vectors), DRIFT_VECTORS)]
