"""Loss of a training step: the reconstruction error, alone or nested, and the sparsity penalty, apart."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from phonoscope.sae.models import SparseAutoencoder
from phonoscope.sae.sparse import Pattern, decode


class Step(NamedTuple):
    """Losses and counts of a batch."""

    reconstruction: Tensor
    """Squared error of a frame, the data's total variance being 1; nested: mean over groups."""
    sparsity: Tensor
    """Weighted penalty; 0 where the activation itself bounds the number of features."""
    error: Tensor
    """Output minus reconstruction by all features, [n, d_out]."""
    fired: Tensor
    """Active features, one entry an activation."""
    l0: Tensor
    """Active features a frame."""


def losses(model: SparseAutoencoder, x: Tensor, y: Tensor, pattern: Pattern, values: Tensor) -> Step:
    """Losses of a batch x [n, d_in], y [n, d_out], given its selected pre-activations `values` [entries]."""
    n = len(x)
    activations, sparsity = model.kind.activate(model, pattern, values)
    errors = _errors(model, x, y, pattern, activations)
    reconstruction = torch.stack([error.pow(2).sum() / n for error in errors]).mean()
    # JumpReLU's pattern has entries just below the threshold, which are not active
    fired = pattern.columns[activations.detach() > 0]
    return Step(reconstruction, sparsity, errors[-1], fired, y.new_tensor(len(fired) / n))


def _errors(model: SparseAutoencoder, x: Tensor, y: Tensor, pattern: Pattern, activations: Tensor) -> list[Tensor]:
    """y minus the reconstruction by each prefix of the features."""
    rest = y - model.b_dec - model.bypass(x)
    errors, start = [], 0
    # a group is subtracted from what the smaller ones left: every feature is decoded once, however many groups hold it
    for end in model.kind.prefixes(model.shape.d_sae):
        inside = (pattern.columns >= start) & (pattern.columns < end)
        if bool(inside.all()):  # one group, the usual case: no copy, and `by_column` is sorted only once
            rest = rest - decode(pattern, activations, model.W_dec)
        else:
            rest = rest - decode(pattern.keep(inside), activations[inside], model.W_dec)
        errors.append(rest)
        start = end
    return errors
