"""Vector quantizers with one EMA codebook or a residual stack of them.

vector-quantize-pytorch's wrappers are not used: they report no loss outside training, start k-means on the first batch
even in evaluation, and its `ResidualVQ` multiplies the straight-through gradient by the number of layers, since each
layer passes it on again. Here the gradient crosses the sum of the layers once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to, straight_through

from phonoscope.compute import derive_seed
from phonoscope.errors import DataError, ParamsError
from phonoscope.vq.codebooks import EmaCodebook, UnscaledCodebook
from phonoscope.vq.usage import perplexity

QuantizerKind = Literal["ema", "ema_unscaled"]
CODEBOOKS = {"ema": EmaCodebook, "ema_unscaled": UnscaledCodebook}


@dataclass(frozen=True)
class Quantized:
    """One pass of vectors [..., D] through a quantizer of L layers."""

    quantized: Tensor  # [..., D], with a gradient to the input
    codes: Tensor  # [..., L], int64
    commitment: Tensor  # scalar: mean over layers of the squared distance to the codes, which take no gradient
    distance: Tensor  # [L]: mean Euclidean distance of the (residual) inputs to their codes
    perplexity_batch: Tensor  # [L]: perplexity of the codes of this pass
    restarted: list[int]  # per layer: dead codes replaced in this pass


class Quantizer(nn.Module):
    """One or more codebooks; each quantizes the residual of those before it (arXiv:2107.03312, algorithm 1).

    The codebooks learn in training mode, unless a pass is `frozen`; any other pass changes no state.
    """

    def __init__(self, books: Sequence[EmaCodebook], dim: int, *, unit_inputs: bool, rotation: bool) -> None:
        super().__init__()
        self.layers, self.books = nn.ModuleList(books), list(books)
        self.dim, self.rotation = dim, rotation
        self.register_buffer("unit_inputs", torch.tensor(unit_inputs))

    def prepare(self, vectors: Tensor) -> Tensor:
        """Vectors [..., D] as they are searched for, L2-normalised if `unit_inputs`.

        Raises `DataError` if there is none, one is not finite, or they have another dimension.
        """
        if vectors.shape[-1] != self.dim or vectors.numel() == 0:
            raise DataError(f"the quantizer takes vectors of {self.dim} dimensions, not {list(vectors.shape)}")
        if wrong := vectors.numel() - int(torch.isfinite(vectors).sum()):
            raise DataError(f"{wrong} of {vectors.numel()} values are not finite; has the encoder diverged?")
        return F.normalize(vectors, dim=-1) if self.unit_inputs else vectors

    @torch.no_grad()
    def start(self, vectors: Tensor) -> None:
        """Set the codebooks by k-means of encoder outputs [N, D], each from the residual of the layers before it.

        Raises: `DataError` if there are fewer vectors than codes, or they are not finite.
        """
        residual = self.prepare(vectors).reshape(-1, self.dim)
        for book in self.books:
            codes = len(book.embed)
            if len(residual) < codes:
                raise DataError(f"{codes} codes cannot start from {len(residual)} vectors; give one vector per code")
            book.start(residual)
            residual = residual - book.assign(residual, update=False).rows

    def forward(self, vectors: Tensor, *, frozen: bool = False) -> Quantized:
        """Quantize vectors [..., D]. Raises `DataError` as `prepare` does."""
        inputs = self.prepare(vectors)
        residual = flat = inputs.reshape(-1, self.dim)
        passes, residuals = [], []
        for book in self.books:
            passes.append(book.assign(residual.detach(), update=self.training and not frozen))
            # not detached: each layer's commitment pulls the encoder by what is left after that layer
            residual = residual - passes[-1].rows.to(residual.dtype)
            residuals.append(residual)
        quantized = (flat - residual).detach()
        if flat.requires_grad:
            # once, over the sum of the layers: a gradient passed on by every layer would be multiplied by their number
            quantized = rotate_to(flat, quantized) if self.rotation else straight_through(flat, quantized)
        codes = torch.stack([assigned.codes for assigned in passes], dim=-1)
        counts = [torch.bincount(codes[:, i], minlength=len(book.embed)) for i, book in enumerate(self.books)]
        return Quantized(
            quantized=quantized.reshape(inputs.shape),
            codes=codes.reshape(*inputs.shape[:-1], -1),
            commitment=torch.stack([left.square().mean() for left in residuals]).mean(),
            distance=torch.stack([left.detach().norm(dim=-1).mean() for left in residuals]),
            perplexity_batch=torch.stack([perplexity(count) for count in counts]),
            restarted=[assigned.restarted for assigned in passes],
        )

    def codebooks(self) -> list[Tensor]:
        """Copies of the codes of every layer, [K, D]."""
        return [book.embed.clone() for book in self.books]

    def cluster_sizes(self) -> list[Tensor]:
        """Copies of the EMA counts of every layer's codes, [K]."""
        return [book.cluster_size.clone() for book in self.books]

    def perplexity_ema(self) -> Tensor:
        """[L]: perplexity of the EMA counts, which describe past batches and not any dataset."""
        return torch.stack([perplexity(size) for size in self.cluster_sizes()])


def build_quantizer(
    kind: QuantizerKind,
    dim: int,
    codes: int = 512,
    *,
    layers: int = 1,
    decay: float = 0.95,
    unit_inputs: bool = True,
    unit_codes: bool = False,
    rotation: bool = False,
    dead_window: int = 20,
    dead_usage: float = 0.03,
    seed: int = 0,
) -> Quantizer:
    """A quantizer with random codebooks; `start` sets them from data.

    kind: `ema`, or `ema_unscaled` to study the update that lacks a factor. unit_inputs: L2-normalise the inputs.
    unit_codes: normalise the codes as well (only `ema`, one layer). rotation: the rotation trick (arXiv:2410.06424) in
    place of straight-through. decay, dead_window, dead_usage: see `EmaCodebook`.
    Raises: `ParamsError` naming an impossible value or combination.
    """
    if kind not in CODEBOOKS:
        raise ParamsError(f"kind: no quantizer {kind!r}; known kinds: {', '.join(CODEBOOKS)}")
    if min(dim, codes, layers) < 1:
        raise ParamsError(f"dim {dim}, codes {codes}, layers {layers}: each must be at least 1")
    if not 0 <= decay < 1:
        raise ParamsError(f"decay: {decay} is not in [0, 1)")
    if dead_window < 0 or dead_usage < 0:
        raise ParamsError(f"dead_window {dead_window}, dead_usage {dead_usage}: neither may be negative")
    if unit_codes and (kind != "ema" or layers > 1):
        raise ParamsError("unit_codes: only for kind ema with one layer; unit codes do not add up to a residual")
    make = partial(CODEBOOKS[kind], dim, codes, decay=decay, unit_codes=unit_codes, dead_usage=dead_usage)
    seeds = [derive_seed(seed, "layer", layer) for layer in range(layers)]
    books = [make(dead_window=dead_window, seed=layer_seed) for layer_seed in seeds]
    return Quantizer(books, dim, unit_inputs=unit_inputs or unit_codes, rotation=rotation)
