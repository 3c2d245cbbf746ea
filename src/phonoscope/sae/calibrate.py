"""The threshold of inference: as high as lets k features a frame through on average."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from phonoscope.sae.models import SparseAutoencoder
from phonoscope.sae.selection import batch_top_k


@torch.no_grad()
def cut(model: SparseAutoencoder, batches: Iterable[Tensor], k: int) -> float:
    """The threshold at which inputs [n, n_inputs], batch by batch, have k active features a frame on average.

    Each batch keeps twice what it may hold on average, so a batch with that many more active features is still exact.
    """
    kept, frames, guess = [], 0, 0.0
    for x in batches:
        scores = model.scores(model.pre(x))
        pattern, guess = batch_top_k(scores, min(2 * k, model.width), guess)
        kept.append(scores[pattern.rows, pattern.columns])
        frames += len(x)
    values = torch.cat(kept)
    surplus = len(values) - k * frames
    return float(values.kthvalue(surplus).values) if surplus > 0 else 0.0


def calibrate(model: SparseAutoencoder, batches: Iterable[Tensor], k: int) -> None:
    """Set the model's threshold, in place, to `cut`."""
    threshold = cut(model, batches, k)
    with torch.no_grad():
        model.threshold.fill_(threshold)
