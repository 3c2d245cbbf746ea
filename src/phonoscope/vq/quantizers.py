"""Vector quantizers: one codebook of exponential moving averages, or a residual stack of them; one with a known fault.

The update is `phonoscope.ema`; k-means, sampling and the rotation trick are vector-quantize-pytorch's. The rest of that
package is not used: its codebook multiplies by one-hot codes (three times the cost) and calls a code dead by an
absolute EMA count, which means another usage at every batch size; its wrappers report no loss outside training, start
k-means on the first batch even in evaluation, and multiply the straight-through gradient by the number of layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vector_quantize_pytorch.vector_quantize_pytorch import kmeans, rotate_to, sample_vectors, straight_through

from phonoscope.compute import derive_seed
from phonoscope.ema import ema_codes, ema_update, smoothed_shares
from phonoscope.errors import DataError, ParamsError
from phonoscope.vq.usage import perplexity

QuantizerKind = Literal["ema", "ema_unscaled"]
UNSCALED_DEAD = 1e-3  # EMA count below which `UnscaledCodebook` restarts a code


class Assigned(NamedTuple):
    """Nearest codes of vectors [N, D]."""

    rows: Tensor  # [N, D]: the codes' vectors, without gradient, before any update
    codes: Tensor  # [N], int64
    restarted: int  # dead codes that were replaced


@contextmanager
def seeded(seed: int, *names: str | int) -> Iterator[None]:
    """Inside, torch's global generator has a seed of this name; afterwards it is as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, *names))
        yield


class EmaCodebook(nn.Module):
    """A codebook of K codes of D dimensions, each the moving average of its vectors (arXiv:1711.00937, appendix A.1).

    Every `dead_window` updates, codes with less than `dead_usage` of uniform usage over the window are replaced by
    random vectors of the batch; 0 turns this off. `unit_codes` keeps all codes on the unit sphere.
    """

    embed: Tensor  # [K, D]
    embed_avg: Tensor  # [K, D]
    cluster_size: Tensor  # [K]
    window_usage: Tensor  # [K]
    step: Tensor

    def __init__(
        self, dim: int, codes: int, *, decay: float, unit_codes: bool, dead_window: int, dead_usage: float, seed: int
    ) -> None:
        super().__init__()
        self.decay, self.unit_codes, self.seed = decay, unit_codes, seed
        self.dead_window, self.dead_usage = dead_window, dead_usage
        with seeded(seed, "start"):
            rows = F.normalize(torch.randn(codes, dim), dim=-1)
        self.register_buffer("embed", rows)
        self.register_buffer("embed_avg", rows.clone())
        self.register_buffer("cluster_size", torch.ones(codes))
        self.register_buffer("window_usage", torch.zeros(codes))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def start(self, vectors: Tensor) -> None:
        """Set the codebook by k-means of vectors [N, D]; N must be at least the number of codes."""
        with seeded(self.seed, "k-means"):
            means, counts = kmeans(vectors.float()[None], len(self.embed), use_cosine_sim=self.unit_codes)
        # a code without vectors keeps a size, or its first update would make it the zero vector
        sizes = counts[0].clamp(min=1).to(means.dtype)
        self.embed.copy_(self._on_sphere(means[0]))
        self.cluster_size.copy_(sizes / sizes.mean())
        self.embed_avg.copy_(self.embed * self.cluster_size[:, None])
        self.window_usage.zero_()
        self.step.zero_()

    @torch.no_grad()
    def assign(self, vectors: Tensor, *, update: bool) -> Assigned:
        """Nearest codes of vectors [N, D]; with `update`, the codebook learns from them afterwards."""
        points, rows = self._on_sphere(vectors.float()), self.embed.clone()
        # argmin |x - c|^2 = argmax x.c - |c|^2 / 2. Unit codes have one length, except those without vectors: these
        # have shrunk, and must not seem near
        offsets = rows.new_zeros(len(rows)) if self.unit_codes else -rows.square().sum(dim=1) / 2
        codes = torch.addmm(offsets, points, rows.t()).max(dim=1).indices
        restarted = 0
        if update:
            # a window counts whole batches alike; the EMA would weigh the last ones most, and call rare codes dead
            self.window_usage += ema_update(self.cluster_size, self.embed_avg, points, codes, self.decay)
            self.step += 1
            self.embed.copy_(self._codes())
            restarted = self._replace_dead(points)
        return Assigned(F.embedding(codes, rows), codes, restarted)

    def _codes(self) -> Tensor:
        return self._on_sphere(ema_codes(self.cluster_size, self.embed_avg))

    def _on_sphere(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=-1) if self.unit_codes else vectors

    def _replace_dead(self, points: Tensor) -> int:
        """At the end of a window, replace dead codes by vectors [N, D] of the batch, at most N of them."""
        if not self.dead_window or int(self.step) % self.dead_window:
            return 0
        dead = (self.window_usage < self.dead_usage * self.window_usage.mean()).nonzero()[:, 0]
        self.window_usage.zero_()
        if not len(dead):
            return 0
        # small, so that the EMA's usage does not count restarts as use
        size = self.dead_usage * float(self.cluster_size.mean())
        with seeded(self.seed, "restart", int(self.step)):
            if len(dead) > len(points):  # each vector once: copies would be duplicate codes
                dead = dead[torch.randperm(len(dead))[: len(points)]]
            rows = sample_vectors(points, len(dead))
        # any vector may replace any code, so in the order of the codes
        dead = dead.sort().values
        self.embed[dead], self.embed_avg[dead], self.cluster_size[dead] = rows, rows * size, size
        return len(dead)


class UnscaledCodebook(EmaCodebook):
    """The update without the factor n in the smoothed sizes: every used code becomes n times its centroid.

    Only to study that fault, and kept exactly: after each update, codes with an EMA count below `UNSCALED_DEAD` are
    restarted from the batch, and their accumulators are not reset.
    """

    def _codes(self) -> Tensor:
        return self.embed_avg / smoothed_shares(self.cluster_size)[:, None]

    def _replace_dead(self, points: Tensor) -> int:
        dead = self.cluster_size < UNSCALED_DEAD
        count = int(dead.sum())
        if count:
            with seeded(self.seed, "restart", int(self.step)):
                self.embed[dead] = sample_vectors(points, count)
        return count


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
        """Vectors [..., D] as they are searched for. Raises `DataError` if they do not fit or one is not finite."""
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
        """Quantize vectors [..., D]. Raises `DataError` if they do not fit or one is not finite."""
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
