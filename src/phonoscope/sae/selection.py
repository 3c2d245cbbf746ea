"""Selection of active features: top k of a frame, top k a frame over a batch, or all above a threshold.

TopK: Gao et al. 2024 (2406.04093). BatchTopK: Bussmann et al. 2024 (2412.06410).
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from phonoscope.sae.sparse import Pattern

MARGIN = 0.8
"""Share of the last batch's smallest entry; in a similar batch no entry below it is among the largest."""


def above(scores: Tensor, floor: Tensor | float) -> Pattern:
    """Entries of scores [n, width] over `floor`, a number or [width]."""
    rows, columns = (scores > floor).nonzero(as_tuple=True)
    return Pattern(rows, columns, *scores.shape)


def top_k(scores: Tensor, k: int) -> Pattern:
    """The k largest entries of each row of scores [n, width], as far as they are positive."""
    best = scores.topk(k, dim=1, sorted=False)
    rows = torch.arange(len(scores), device=scores.device).repeat_interleave(k)
    return Pattern(rows, best.indices.flatten(), *scores.shape).keep(best.values.flatten() > 0)


def batch_top_k(scores: Tensor, k: int, guess: float = 0.0) -> tuple[Pattern, float]:
    """The k * n largest positive entries of scores [n, width], and the smallest of them.

    `guess`, the last batch's smallest, only saves time: entries far below it are not ranked, unless too few are left.
    """
    wanted = k * len(scores)
    # ranking all n * width entries would take longer than the rest of a step; nearly all lie far below the last cut
    candidates = above(scores, MARGIN * guess)
    if len(candidates.rows) < wanted and guess > 0:  # another kind of batch: only now could an entry have been missed
        candidates = above(scores, 0.0)
    values = scores[candidates.rows, candidates.columns]
    surplus = len(values) - wanted
    if surplus <= 0:
        return candidates, float(values.min()) if len(values) else 0.0
    cut = values.kthvalue(surplus).values  # the largest that is left out
    return candidates.keep(values > cut), float(cut)


def threshold_at(batches: Iterable[Tensor], k: int) -> float:
    """The threshold that k entries a row exceed on average, over batches of scores [n, width]; 0 if fewer are positive.

    Each batch keeps twice its average share, so a batch with up to twice the entries is still exact.
    """
    kept, frames, guess = [], 0, 0.0
    for scores in batches:
        pattern, guess = batch_top_k(scores, min(2 * k, scores.shape[1]), guess)
        kept.append(scores[pattern.rows, pattern.columns])
        frames += len(scores)
    values = torch.cat(kept)
    # one quantile of all frames, not the mean of the batches' cuts, which the last and shorter batch would bias
    surplus = len(values) - k * frames
    return float(values.kthvalue(surplus).values) if surplus > 0 else 0.0
