"""Usage of a codebook: perplexity and active codes of a batch, of a dataset, or of an EMA's history."""

from __future__ import annotations

import torch
from torch import Tensor

from phonoscope.errors import DataError


def perplexity(counts: Tensor) -> Tensor:
    """exp(entropy) of the distribution with counts [..., K]: [...], from exactly 1 (one code) to K (uniform).

    Raises: `DataError` if a row counts nothing, or a count is negative or not finite.
    """
    return torch.special.entr(_shares(counts)).sum(dim=-1).exp()


def perplexity_clamped(counts: Tensor, epsilon: float = 1e-5) -> Tensor:
    """Perplexity with shares clamped to `epsilon` from below, a common formula, to study it: [..., K] -> [...].

    Every unused code adds -epsilon log(epsilon), so that one code of 512 reads 1.06.
    """
    shares = _shares(counts).clamp(min=epsilon)
    return (-shares * shares.log()).sum(dim=-1).exp()


def active_codes(counts: Tensor, share: float = 0.0) -> Tensor:
    """Number of codes with more than `share` of the counts: [..., K] -> [...], int64."""
    return (_shares(counts) > share).sum(dim=-1)


def _shares(counts: Tensor) -> Tensor:
    if not torch.isfinite(counts).all() or bool((counts < 0).any()):
        raise DataError("the counts of codes hold negative or infinite values; they do not describe a usage")
    counts = counts.cpu().double()  # MPS has no float64
    total = counts.sum(dim=-1, keepdim=True)
    if not bool((total > 0).all()):
        raise DataError("no code was counted, so perplexity is undefined; give at least one vector")
    return counts / total


class CodeUsage:
    """Counts of the codes of a dataset, batch by batch."""

    def __init__(self, layers: int, codes: int) -> None:
        self.counts = torch.zeros(layers, codes, dtype=torch.int64)  # [layers, codes]

    def add(self, codes: Tensor) -> None:
        """Count codes [..., layers]. Raises `DataError` if one is outside the codebook."""
        layers, size = self.counts.shape
        flat = codes.detach().reshape(-1, layers).cpu().long()
        if len(flat) and not 0 <= int(flat.min()) <= int(flat.max()) < size:
            raise DataError(f"codes run from {int(flat.min())} to {int(flat.max())}, but the codebook has {size}")
        self.counts += torch.stack([torch.bincount(column, minlength=size) for column in flat.t()])

    def perplexity_dataset(self) -> Tensor:
        """[layers]. Raises `DataError` before anything was added."""
        return perplexity(self.counts)
