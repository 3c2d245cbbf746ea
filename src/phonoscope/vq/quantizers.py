"""Vector quantizers behind one interface: EMA codebooks (stacked or not), SimVQ, FSQ.

vector-quantize-pytorch serves for the codebooks, FSQ and the rotation trick. Its wrappers are passed over: they report
no loss outside training, start k-means on the first batch even in evaluation, and its `ResidualVQ` multiplies the
straight-through gradient by the number of layers, since each layer passes it on again. Here the gradient crosses the
sum of the layers once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vector_quantize_pytorch import FSQ
from vector_quantize_pytorch.vector_quantize_pytorch import rotate_to, straight_through

from phonoscope.compute import derive_seed
from phonoscope.errors import DataError, ParamsError
from phonoscope.vq.codebooks import EmaCodebook, SimVqCodebook, UnscaledCodebook, own_randomness
from phonoscope.vq.usage import perplexity

QuantizerKind = Literal["ema", "ema_unscaled", "simvq", "fsq"]


@dataclass(frozen=True)
class Quantized:
    """One pass of vectors [..., D] through a quantizer of L layers."""

    quantized: Tensor
    """[..., D], with a gradient to the input."""
    codes: Tensor
    """[..., L], int64."""
    commitment: Tensor
    """Scalar: mean over layers of the squared distance to the codes, which take no gradient; 0 for FSQ."""
    codebook: Tensor
    """Scalar: the loss that moves the codes by gradient; 0 under EMA and for FSQ."""
    distance: Tensor
    """[L]: mean Euclidean distance of the (residual) inputs to their codes."""
    perplexity_batch: Tensor
    """[L]: perplexity of the codes of this pass."""
    restarted: list[int]
    """Per layer: dead codes replaced in this pass."""


class Quantizer(nn.Module):
    """One or more codebooks, each quantizing what the ones before left over (arXiv:2107.03312, algorithm 1).

    The codebooks learn only in training mode, and then unless a pass is `frozen`; any other pass changes no state.
    """

    def __init__(self, layers: Sequence[nn.Module], dim: int, *, unit_inputs: bool, rotation: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.dim = dim
        self.rotation = rotation
        self.register_buffer("unit_inputs", torch.tensor(unit_inputs))

    def prepare(self, vectors: Tensor) -> Tensor:
        """Vectors [..., D] as they are searched for. Raises `DataError` if they are none, not finite, or not of D."""
        return _prepare(vectors, self.dim, bool(self.unit_inputs))

    @torch.no_grad()
    def start(self, vectors: Tensor) -> None:
        """Set the codebooks from encoder outputs [N, D] by k-means, each on what the layers before left over.

        Raises: `DataError` if there are fewer vectors than codes, or they are not finite.
        """
        residual = self.prepare(vectors).reshape(-1, self.dim)
        for layer in self._layers():
            codes = len(layer.rows())
            if len(residual) < codes:
                reason = f"a codebook of {codes} codes cannot start from {len(residual)} vectors"
                raise DataError(f"{reason}; give at least one vector a code, or fewer codes")
            layer.start(residual)
            residual = residual - layer.assign(residual, update=False).rows

    def forward(self, vectors: Tensor, *, frozen: bool = False) -> Quantized:
        """Quantize vectors [..., D]. Raises `DataError` if they are none, not finite, or not of D dimensions."""
        inputs = self.prepare(vectors)
        residual = flat = inputs.reshape(-1, self.dim)
        passes, commitments, distances = [], [], []
        for layer in self._layers():
            found = layer.assign(residual.detach(), update=self.training and not frozen)
            residual = residual - found.rows.to(residual.dtype)
            commitments.append(residual.square().mean())
            distances.append(residual.detach().norm(dim=-1).mean())
            passes.append(found)
        total = (flat - residual).detach()
        codes = torch.stack([found.codes for found in passes], dim=-1)
        return Quantized(
            quantized=self._with_gradient(flat, total).reshape(inputs.shape),
            codes=codes.reshape(*inputs.shape[:-1], -1),
            commitment=torch.stack(commitments).mean(),
            codebook=torch.stack([found.loss for found in passes]).mean(),
            distance=torch.stack(distances),
            perplexity_batch=_perplexity_batch(codes, [len(layer.rows()) for layer in self._layers()]),
            restarted=[found.restarted for found in passes],
        )

    def _with_gradient(self, inputs: Tensor, quantized: Tensor) -> Tensor:
        if not inputs.requires_grad:
            return quantized
        return rotate_to(inputs, quantized) if self.rotation else straight_through(inputs, quantized)

    def _layers(self) -> list[Any]:
        return list(self.layers)

    def codebooks(self) -> list[Tensor]:
        """The codes of every layer, [K, D], detached."""
        return [layer.rows().clone() for layer in self._layers()]

    def cluster_sizes(self) -> list[Tensor] | None:
        """The EMA counts of every layer's codes, [K]; none without an EMA."""
        if not all(isinstance(layer, EmaCodebook) for layer in self.layers):
            return None
        return [layer.cluster_size[0].clone() for layer in self._layers()]

    def perplexity_ema(self) -> Tensor | None:
        """[L]: perplexity of the EMA counts, which is of the past batches and not of any data; none without an EMA."""
        sizes = self.cluster_sizes()
        return None if sizes is None else torch.stack([perplexity(size) for size in sizes])


class FsqQuantizer(nn.Module):
    """Finite scalar quantization (arXiv:2309.15505): a learned projection, rounded to `levels` a dimension."""

    def __init__(self, dim: int, levels: Sequence[int], *, unit_inputs: bool, seed: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("unit_inputs", torch.tensor(unit_inputs))
        with own_randomness(seed, "start"):
            self.fsq = FSQ(list(levels), dim=dim)

    def prepare(self, vectors: Tensor) -> Tensor:
        """Vectors [..., D] as they are projected. Raises `DataError` as `Quantizer.prepare` does."""
        return _prepare(vectors, self.dim, bool(self.unit_inputs))

    def start(self, vectors: Tensor) -> None:
        """Nothing to set: the grid is fixed."""

    def forward(self, vectors: Tensor, *, frozen: bool = False) -> Quantized:
        """Quantize vectors [..., D]; `frozen` changes nothing here. Raises `DataError` as `Quantizer` does."""
        inputs = self.prepare(vectors)
        quantized, codes = self.fsq(inputs.reshape(1, -1, self.dim))
        quantized, codes = quantized.reshape(inputs.shape), codes.long().reshape(-1, 1)
        none = inputs.new_zeros(())
        return Quantized(
            quantized=quantized,
            codes=codes.reshape(*inputs.shape[:-1], 1),
            commitment=none,
            codebook=none,
            distance=(inputs - quantized).detach().norm(dim=-1).mean()[None],
            perplexity_batch=_perplexity_batch(codes, [self.fsq.codebook_size]),
            restarted=[0],
        )

    def codebooks(self) -> list[Tensor]:
        """The one layer's codes [K, D] as they leave the projection, detached."""
        return [self.fsq.project_out(self.fsq.implicit_codebook).detach()]

    def cluster_sizes(self) -> None:
        """FSQ has no EMA."""

    def perplexity_ema(self) -> None:
        """FSQ has no EMA."""


def _prepare(vectors: Tensor, dim: int, unit: bool) -> Tensor:
    if vectors.shape[-1] != dim or vectors.numel() == 0:
        raise DataError(f"the quantizer takes vectors of {dim} dimensions, not an array of {tuple(vectors.shape)}")
    wrong = vectors.numel() - int(torch.isfinite(vectors).sum())
    if wrong:
        reason = f"{wrong} of {vectors.numel()} values are not finite"
        raise DataError(f"the vectors to quantize: {reason}; the encoder has diverged or its input is damaged")
    return F.normalize(vectors, dim=-1) if unit else vectors


def _perplexity_batch(codes: Tensor, sizes: Sequence[int]) -> Tensor:
    counts = [torch.bincount(codes[:, layer], minlength=size) for layer, size in enumerate(sizes)]
    return torch.stack([perplexity(count) for count in counts])


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
    levels: Sequence[int] = (8, 8, 8),
    seed: int = 0,
) -> Quantizer | FsqQuantizer:
    """A quantizer with a random codebook; `start` sets it from data.

    unit_inputs: L2-normalise the inputs. unit_codes: the codes as well (only `ema`, one layer). dead_window,
    dead_usage: see `EmaCodebook`. levels: of `fsq`, whose number of codes is their product.
    Raises: `ParamsError` naming an impossible value or combination.
    """
    _check(kind, dim, codes, layers, decay, unit_codes, dead_window, dead_usage, levels)
    if kind == "fsq":
        return FsqQuantizer(dim, levels, unit_inputs=unit_inputs, seed=seed)
    ema = {"decay": decay, "unit_codes": unit_codes, "dead_window": dead_window, "dead_usage": dead_usage}
    makers: dict[str, Any] = {"ema": EmaCodebook, "ema_unscaled": UnscaledCodebook, "simvq": SimVqCodebook}
    own: dict[str, Any] = {} if kind == "simvq" else ema
    books = [makers[kind](dim, codes, seed=derive_seed(seed, "layer", layer), **own) for layer in range(layers)]
    return Quantizer(books, dim, unit_inputs=unit_inputs or unit_codes, rotation=rotation)


def _check(
    kind: str,
    dim: int,
    codes: int,
    layers: int,
    decay: float,
    unit_codes: bool,
    dead_window: int,
    dead_usage: float,
    levels: Sequence[int],
) -> None:
    if kind not in ("ema", "ema_unscaled", "simvq", "fsq"):
        raise ParamsError(f"kind: no quantizer {kind!r}; there are ema, ema_unscaled, simvq and fsq")
    if min(dim, codes, layers) < 1:
        raise ParamsError(f"dim {dim}, codes {codes}, layers {layers}: each must be at least 1")
    if not 0 <= decay < 1:
        raise ParamsError(f"decay: {decay} is not in [0, 1)")
    if dead_window < 0 or dead_usage < 0:
        raise ParamsError(f"dead_window {dead_window}, dead_usage {dead_usage}: neither may be negative")
    if unit_codes and (kind != "ema" or layers > 1):
        raise ParamsError("unit_codes: only for kind ema with one layer; unit codes do not add up to a residual")
    if kind == "fsq" and (layers > 1 or not levels or min(levels) < 3):
        raise ParamsError(f"kind fsq takes one layer and levels of at least 3, not {layers} and {list(levels)}")
