"""Training of residual quantizers: data-driven start, codebook update, dead-code replacement, quantizer dropout.

The training passes of the packages are not used, on purpose. encodec's RVQ passes no gradient to any layer but the
first (its issue 25: the straight-through residual is not detached), and its replacement of dead codes is undone in the
same step because it replaces only `embed`, not the running sum. Here the buffers are the official ones, the update is
`phonoscope.ema`, and usage is measured against uniform usage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from phonoscope.compute import limit_threads
from phonoscope.ema import ema_codes, ema_update


class Quantized(NamedTuple):
    """One training pass through the quantizer."""

    quantized: Tensor  # [B, D, F], with a straight-through gradient
    first: Tensor  # [B, D, F]: the same of layer 1 alone
    codes: Tensor  # [B, L, F]
    commitment: Tensor  # scalar
    codebook: Tensor | None  # scalar; None for EMA codebooks, which take no gradient


class QuantizerTrainer(ABC):
    """Trains one kind of residual quantizer inside an official model."""

    def __init__(self, layers: Sequence[nn.Module], decay: float, dead_usage: float) -> None:
        self.layers: list[Any] = list(layers)
        self.decay, self.dead_usage = decay, dead_usage

    @abstractmethod
    def start(self, latents: Tensor, seed: int) -> None:
        """Set every layer's codebook from data: latents [N, D]."""

    @abstractmethod
    def __call__(self, latent: Tensor, keep: Tensor, generator: torch.Generator) -> Quantized:
        """Quantize latent [B, D, F], decoding the first keep[b] layers of clip b, and update the codebooks."""

    def state(self) -> dict[str, Tensor]:
        """State beyond the model's weights, for an exact resume."""
        return {}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


def kmeans(vectors: Tensor, clusters: int, seed: int) -> tuple[Tensor, Tensor]:
    """Centroids [K, D] and labels [N] of vectors [N, D]; fewer vectors than clusters are repeated, jittered."""
    from sklearn.cluster import KMeans

    points = vectors.detach().cpu().double().numpy()
    if len(points) < clusters:
        # scikit-learn refuses fewer points than clusters; the jitter keeps two centroids from being one code
        rng = np.random.default_rng(seed)
        extra = points[rng.integers(len(points), size=clusters - len(points))]
        points = np.concatenate([points, extra + rng.normal(scale=1e-3 * points.std() + 1e-8, size=extra.shape)])
    # one random start and few iterations: training moves the codes anyway
    with limit_threads():
        result = KMeans(clusters, init="random", n_init=1, max_iter=12, random_state=seed).fit(points)
    centroids = torch.as_tensor(result.cluster_centers_, dtype=vectors.dtype, device=vectors.device)
    return centroids, torch.as_tensor(result.labels_[: len(vectors)], device=vectors.device).long()


def _usage(codes: Tensor, size: int) -> Tensor:
    return torch.bincount(codes.reshape(-1), minlength=size).to(torch.float32)


def _random_rows(vectors: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return vectors[torch.randint(len(vectors), (count,), generator=generator).to(vectors.device)]


class EmaRvqTrainer(QuantizerTrainer):
    """Trains EnCodec's and SpeechTokenizer's `VectorQuantization` layers, whose codebooks are EMAs."""

    def __init__(self, layers: Sequence[nn.Module], decay: float, dead_usage: float) -> None:
        super().__init__(layers, decay, dead_usage)
        self.books: list[Any] = [layer._codebook for layer in layers]

    def start(self, latents: Tensor, seed: int) -> None:
        residual = latents
        for index, book in enumerate(self.books):
            centroids, labels = kmeans(residual, book.codebook_size, seed + index)
            # one vector a code, not the k-means counts: the first updates then replace the start quickly
            book.embed.copy_(centroids)
            book.cluster_size.fill_(1.0)
            book.embed_avg.copy_(centroids)
            book.inited.fill_(1.0)  # or the package would start from its first batch again
            residual = residual - centroids[labels]

    def __call__(self, latent: Tensor, keep: Tensor, generator: torch.Generator) -> Quantized:
        residual = latent.transpose(1, 2)
        total = first = torch.zeros_like(residual)
        commitment = residual.new_zeros(())
        codes = []
        for index, book in enumerate(self.books):
            code = book.encode(residual.detach())
            row = F.embedding(code, book.embed)
            kept = (keep > index).to(residual.dtype)[:, None, None]  # quantizer dropout: 0 for clips of fewer layers
            commitment = commitment + ((residual - row).square() * kept).mean()
            total = total + row * kept
            first = row if index == 0 else first
            # after `row` is read: the pass decodes the codes from before its own update
            self._update(book, residual.detach().reshape(-1, residual.shape[-1]), code.reshape(-1), generator)
            residual = residual - row
            codes.append(code)
        # straight-through: the gradient at the output reaches the latent unchanged
        total, first = (latent + (part.transpose(1, 2) - latent).detach() for part in (total, first))
        return Quantized(total, first, torch.stack(codes, dim=1), commitment / len(self.books), None)

    def _update(self, book: Any, vectors: Tensor, codes: Tensor, generator: torch.Generator) -> None:
        uniform = len(vectors) / book.codebook_size
        ema_update(book.cluster_size, book.embed_avg, vectors, codes, self.decay)
        # relative to uniform usage, so that the threshold means the same at every batch and codebook size
        dead = book.cluster_size < self.dead_usage * uniform
        if dead.any():
            # the accumulators are replaced, or the next line would undo it; at uniform usage, a new code has time
            # to win vectors before it is dead again
            book.embed_avg[dead] = _random_rows(vectors, int(dead.sum()), generator) * uniform
            book.cluster_size[dead] = uniform
        book.embed.copy_(ema_codes(book.cluster_size, book.embed_avg))


def _set_weight_norm_conv(conv: Any, weight: Tensor, bias: Tensor) -> None:
    """Give a weight-normed 1x1 convolution the weight [out, in] and the bias [out]."""
    with torch.no_grad():
        conv.weight_v.copy_(weight[..., None])
        conv.weight_g.copy_(weight.norm(dim=1)[:, None, None])
        conv.bias.copy_(bias)


class DacRvqTrainer(QuantizerTrainer):
    """Trains DAC's `VectorQuantize` layers, whose codebooks learn by gradient (arXiv:2306.06546, section 3.2)."""

    def __init__(self, layers: Sequence[nn.Module], decay: float, dead_usage: float) -> None:
        super().__init__(layers, decay, dead_usage)
        self.usage = torch.full((len(self.layers), self.layers[0].codebook_size), 1.0)  # EMA, relative to uniform usage

    def start(self, latents: Tensor, seed: int) -> None:
        """Projections from the residual's leading principal directions, codes from spherical k-means within them."""
        residual = latents
        for index, layer in enumerate(self.layers):
            mean = residual.mean(dim=0)
            # the two maps share orthonormal directions: going in and out again is a projection and loses nothing else
            directions = torch.linalg.svd(residual - mean, full_matrices=False)[2][: layer.codebook_dim]
            _set_weight_norm_conv(layer.in_proj, directions, -directions @ mean)
            _set_weight_norm_conv(layer.out_proj, directions.t(), mean)
            projected = (residual - mean) @ directions.t()
            # DAC searches by direction but decodes the row as it is: cluster unit vectors, then take the mean of the
            # members at their own length
            centroids, labels = kmeans(F.normalize(projected), layer.codebook_size, seed + index)
            counts = _usage(labels, layer.codebook_size).to(latents.device)
            sums = torch.zeros_like(centroids).index_add_(0, labels, projected)
            rows = torch.where(counts[:, None] > 0, sums / counts.clamp(min=1)[:, None], centroids)
            with torch.no_grad():
                layer.codebook.weight.copy_(rows)
            residual = residual - (rows[labels] @ directions + mean)
        self.usage.fill_(1.0)

    def __call__(self, latent: Tensor, keep: Tensor, generator: torch.Generator) -> Quantized:
        residual = latent
        total = first = torch.zeros_like(latent)
        commitment = codebook = latent.new_zeros(())
        codes = []
        for index, layer in enumerate(self.layers):
            # straight-through within the layer; the residual keeps the path, so every layer's losses reach the encoder
            quantized, commitment_loss, codebook_loss, code, projected = layer(residual)
            kept = (keep > index).to(latent.dtype)
            commitment = commitment + (commitment_loss * kept).mean()
            codebook = codebook + (codebook_loss * kept).mean()
            total = total + quantized * kept[:, None, None]
            first = quantized if index == 0 else first
            residual = residual - quantized
            self._replace_dead(index, projected.detach().transpose(1, 2).flatten(0, 1), code, generator)
            codes.append(code)
        return Quantized(total, first, torch.stack(codes, dim=1), commitment, codebook)

    def _replace_dead(self, index: int, projected: Tensor, codes: Tensor, generator: torch.Generator) -> None:
        layer = self.layers[index]
        uniform = codes.numel() / layer.codebook_size
        self.usage[index].lerp_(_usage(codes.cpu(), layer.codebook_size) / uniform, 1 - self.decay)
        dead = self.usage[index] < self.dead_usage
        if dead.any():
            # through .data: the pass under way has already used these rows
            layer.codebook.weight.data[dead] = _random_rows(projected, int(dead.sum()), generator)
            self.usage[index][dead] = 1.0

    def state(self) -> dict[str, Tensor]:
        return {"usage": self.usage}
