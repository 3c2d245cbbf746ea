"""Codebooks as exponential moving averages of the vectors assigned to them (arXiv:1711.00937, appendix A.1).

Shared by codec training and by the quantizers. A codebook of K codes keeps two accumulators: `sizes` [K], the moving
average of how many vectors a code gets per batch, and `sums` [K, D], that of the sum of these vectors.
"""

import torch
from torch import Tensor

EPSILON = 1e-5  # Laplace smoothing of the sizes, so that an unused code does not divide by zero


def ema_update(sizes: Tensor, sums: Tensor, vectors: Tensor, codes: Tensor, decay: float) -> Tensor:
    """Move both accumulators, in place, towards a batch of vectors [N, D] with codes [N]; returns its counts [K]."""
    # both accumulators decay alike: if only the sums did, codes would shrink towards 0
    counts = torch.bincount(codes, minlength=len(sizes)).to(sizes.dtype)
    sizes.lerp_(counts, 1 - decay)
    sums.lerp_(torch.zeros_like(sums).index_add_(0, codes, vectors), 1 - decay)
    return counts


def ema_codes(sizes: Tensor, sums: Tensor) -> Tensor:
    """The codes [K, D]: each the mean of its vectors, with smoothed sizes that keep their total n."""
    return sums / (smoothed_shares(sizes) * sizes.sum())[:, None]


def smoothed_shares(sizes: Tensor) -> Tensor:
    """Share of each code [K] in all vectors, smoothed; sums to 1. Codes need n times this, see `ema_codes`."""
    return (sizes + EPSILON) / (sizes.sum() + len(sizes) * EPSILON)
