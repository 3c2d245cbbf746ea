"""Sparse activations as the list of their active entries: their selection, and the products that training needs.

Of `width` features only some tens are active in a frame. The decoder's product and every gradient of encoder and
decoder then touch the active entries alone; the one dense product left is the encoder's forward pass. Sums over entries
are PyTorch's embedding bags: vectorised, deterministic, and there on CPU and CUDA alike.

TopK: Gao et al. 2024 (2406.04093). BatchTopK: Bussmann et al. 2024 (2412.06410).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag

MARGIN = 0.8  # share of the last batch's smallest entry; in a similar batch no entry below it is among the largest

with warnings.catch_warnings():  # torch says once that sparse tensors are new, and that it does not check them
    warnings.simplefilter("ignore")
    torch.eye(1).to_sparse_csr()
    torch.sparse_csr_tensor(torch.tensor([0, 1]), torch.tensor([0]), torch.ones(1), (1, 1), check_invariants=False)


@dataclass(frozen=True)
class Pattern:
    """Which entries of an [n, width] matrix are active, row by row: `rows` ascends. rows, columns: int64 [entries]."""

    rows: Tensor
    columns: Tensor
    n: int
    width: int

    @cached_property
    def offsets(self) -> Tensor:
        """Where each row begins in the list, and its end: [n + 1]."""
        return _offsets(self.rows, self.n)

    @cached_property
    def by_column(self) -> tuple[Tensor, Tensor]:
        """The entries' order column by column, and where each column begins in it: [entries], [width + 1]."""
        # sorted once a step for both weight gradients; stable, as the order of a sum decides its last bits
        return torch.argsort(self.columns, stable=True), _offsets(self.columns, self.width)

    def keep(self, mask: Tensor) -> Pattern:
        """The entries where `mask` [entries] holds."""
        return Pattern(self.rows[mask], self.columns[mask], self.n, self.width)


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


def _offsets(index: Tensor, size: int) -> Tensor:
    counts = torch.bincount(index, minlength=size)
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def _bags(index: Tensor, offsets: Tensor, values: Tensor, dense: Tensor) -> Tensor:
    return embedding_bag(index, dense, offsets, mode="sum", per_sample_weights=values, include_last_offset=True)


def spmm(pattern: Pattern, values: Tensor, dense: Tensor) -> Tensor:
    """S @ dense for the sparse S [n, width] of `values` [entries] and dense [width, d]: [n, d]."""
    return _bags(pattern.columns, pattern.offsets, values, dense)


def spmm_t(pattern: Pattern, values: Tensor, dense: Tensor) -> Tensor:
    """S.T @ dense for the sparse S [n, width] of `values` [entries] and dense [n, d]: [width, d]."""
    order, offsets = pattern.by_column
    return _bags(pattern.rows[order], offsets, values[order], dense)


def sddmm(pattern: Pattern, left: Tensor, right: Tensor) -> Tensor:
    """The active entries of left @ right.T for left [n, d] and right [width, d]: [entries]."""
    size, zeros = (pattern.n, pattern.width), left.new_zeros(len(pattern.columns))
    # sampled, as left @ right.T itself has n * width entries
    target = torch.sparse_csr_tensor(pattern.offsets, pattern.columns, zeros, size, check_invariants=False)
    return torch.sparse.sampled_addmm(target, left, right.T, beta=0.0).values()


class Preactivations(torch.autograd.Function):
    """Active entries of (x - input_bias) @ encoder.T + encoder_bias, given their values from the dense product.

    values: [entries]. x: [n, d], without a gradient. input_bias: [d]. encoder: [width, d]. encoder_bias: [width].
    """

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, x: Tensor, input_bias: Tensor, encoder: Tensor, encoder_bias: Tensor, pattern: Pattern
    ) -> Tensor:
        ctx.pattern = pattern
        ctx.save_for_backward(x, input_bias, encoder)
        return values.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, input_bias, encoder = ctx.saved_tensors
        # with G [n, width] the sparse gradient and g its column sums: d b_enc = g, d b_in = -g @ encoder, and
        # d encoder = G.T @ (x - b_in) = G.T @ x - outer(g, b_in), which needs no centred copy of x
        bias = torch.zeros_like(encoder[:, 0]).index_add_(0, ctx.pattern.columns, grad)
        weight = spmm_t(ctx.pattern, grad, x).addr_(bias, input_bias, alpha=-1)
        return None, None, -(bias @ encoder), weight, bias, None


class _Decode(torch.autograd.Function):
    """S @ decoder for sparse activations S."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, decoder: Tensor, pattern: Pattern) -> Tensor:
        ctx.pattern = pattern
        ctx.save_for_backward(values, decoder)
        return spmm(pattern, values, decoder)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        values, decoder = ctx.saved_tensors
        grad = grad.contiguous()
        return sddmm(ctx.pattern, grad, decoder), spmm_t(ctx.pattern, values, grad), None


def decode(pattern: Pattern, values: Tensor, decoder: Tensor) -> Tensor:
    """Sparse activations times decoder [width, d], with gradients for both: [n, d]."""
    return _Decode.apply(values, decoder, pattern)
