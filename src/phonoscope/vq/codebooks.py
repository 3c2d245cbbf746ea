"""Codebooks: vector-quantize-pytorch's, with a window of usage for dead codes, and the update that lacks a factor.

Its accumulators, smoothing, k-means and replacing of codes, and its `SimVQ`, are used as they are. Its search and its
sums are replaced, since they multiply by one-hot codes (three times the cost); so is its rule for dead codes, an
absolute count of the EMA, which means another usage at every batch size.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vector_quantize_pytorch import SimVQ
from vector_quantize_pytorch.vector_quantize_pytorch import Codebook, kmeans, laplace_smoothing, sample_vectors

from phonoscope.compute import derive_seed

UNSCALED_DEAD = 1e-3
"""EMA count below which `UnscaledCodebook` restarts a code."""


@dataclass(frozen=True)
class Assigned:
    """Vectors [N, D] given to their nearest codes: rows [N, D] without gradient, codes [N] int64.

    loss: scalar, pulls the codebook to the vectors by gradient (zero under EMA). restarted: codes replaced by it.
    """

    rows: Tensor
    codes: Tensor
    loss: Tensor
    restarted: int


class Layer(Protocol):
    """One codebook of a quantizer."""

    def start(self, vectors: Tensor) -> None:
        """Set the codebook from vectors [N, D], N at least its size."""

    def assign(self, vectors: Tensor, *, update: bool) -> Assigned:
        """Nearest codes of vectors [N, D]; with `update`, the codebook learns from them afterwards."""

    def rows(self) -> Tensor:
        """The codes [K, D], detached."""


@contextmanager
def own_randomness(seed: int, *names: str | int) -> Iterator[None]:
    """Seed torch's global generators by name inside, and give them back as they were."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(seed, *names))
        yield


class EmaCodebook(Codebook):
    """Codes as moving averages of their vectors (arXiv:1711.00937, appendix A.1).

    Every `dead_window` updates, the codes that got less than `dead_usage` of uniform usage over the window are replaced
    by random vectors of the batch; 0 turns this off. Buffers: embed and embed_avg [1, K, D], cluster_size and
    window_usage [1, K].
    """

    def __init__(
        self, dim: int, codes: int, *, decay: float, unit_codes: bool, dead_window: int, dead_usage: float, seed: int
    ) -> None:
        # from zeros: the package's own random start would move torch's global generator
        super().__init__(
            dim, codes, decay=decay, use_cosine_sim=unit_codes, threshold_ema_dead_code=0, kmeans_init=True
        )
        self.initted.fill_(True)
        self.dead_window = dead_window
        self.dead_usage = dead_usage
        self.seed = seed
        self.restarted = 0
        self.register_buffer("window_usage", torch.zeros(1, codes))
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        with own_randomness(seed, "start"):
            self._begin(F.normalize(torch.randn(1, codes, dim), dim=-1), torch.ones(1, codes))

    def _begin(self, rows: Tensor, sizes: Tensor) -> None:
        rows = self.transform_input(rows)
        self.embed.copy_(rows)
        self.cluster_size.copy_(sizes)
        self.embed_avg.copy_(rows * sizes[..., None])
        self.window_usage.zero_()
        self.step.zero_()

    @torch.no_grad()
    def start(self, vectors: Tensor) -> None:
        """k-means of vectors [N, D]; N must be at least the number of codes."""
        with own_randomness(self.seed, "k-means"):
            rows, counts = kmeans(vectors.float()[None], self.codebook_size, use_cosine_sim=self.use_cosine_sim)
        # a code without vectors keeps a size, or its first update would make it the zero vector
        sizes = counts.clamp(min=1).to(rows.dtype)
        self._begin(rows, sizes / sizes.mean())

    @torch.no_grad()
    def assign(self, vectors: Tensor, *, update: bool) -> Assigned:
        self.restarted = 0
        points, book = self.transform_input(vectors.float()), self.rows()
        # unit codes are all of one length, but for those that no vector held up: these have shrunk, and are not near
        offsets = book.new_zeros(len(book)) if self.use_cosine_sim else -book.square().sum(dim=1) / 2
        codes = torch.addmm(offsets, points, book.t()).max(dim=1).indices
        rows = F.embedding(codes, book)
        if update:
            self._learn(points, codes)
        return Assigned(rows, codes, rows.new_zeros(()), self.restarted)

    def _learn(self, points: Tensor, codes: Tensor) -> None:
        """One step of the moving averages, and the codes from them."""
        used = torch.bincount(codes, minlength=self.codebook_size).to(points.dtype)
        sums = torch.zeros_like(self.embed_avg[0]).index_add_(0, codes, points)
        self.cluster_size.lerp_(used[None], 1 - self.decay)
        self.embed_avg.lerp_(sums[None], 1 - self.decay)
        self.window_usage += used
        self.step += 1
        self.update_ema()
        self.expire_codes_(points[None])

    def rows(self) -> Tensor:
        return self.embed[0].detach()

    def expire_codes_(self, batch_samples: Tensor, seq_mask: Tensor | None = None) -> None:
        """At the end of every window: replace dead codes by some of batch_samples [1, N, D]."""
        if not self.dead_window or int(self.step) % self.dead_window:
            return
        dead = self.window_usage < self.dead_usage * self.window_usage.mean()
        self.window_usage.zero_()
        self.restarted = min(int(dead.sum()), batch_samples.shape[1])
        if self.restarted:
            # small, so that the EMA's usage does not show restarts as use
            self.reset_cluster_size = self.dead_usage * float(self.cluster_size.mean())
            with own_randomness(self.seed, "restart", int(self.step)):
                self.replace(batch_samples, batch_mask=dead)


class UnscaledCodebook(EmaCodebook):
    """The same without the factor n in the smoothed sizes: every used code becomes n times its centroid.

    Only to study that fault, and kept exactly: codes whose EMA count is below `UNSCALED_DEAD` after the update are
    restarted from the batch, and their accumulators are not reset.
    """

    def update_ema(self) -> None:
        shares = laplace_smoothing(self.cluster_size, self.codebook_size, self.eps)
        self.embed.copy_(self.embed_avg / shares[..., None])

    def expire_codes_(self, batch_samples: Tensor, seq_mask: Tensor | None = None) -> None:
        dead = self.cluster_size[0] < UNSCALED_DEAD
        self.restarted = int(dead.sum())
        if self.restarted:
            with own_randomness(self.seed, "restart", int(self.step)):
                self.embed[0][dead] = sample_vectors(batch_samples[0], self.restarted)


class SimVqCodebook(nn.Module):
    """A frozen random codebook under one learned linear map (SimVQ, arXiv:2411.02038), trained by gradient."""

    def __init__(self, dim: int, codes: int, *, seed: int) -> None:
        super().__init__()
        with own_randomness(seed, "start"):
            self.sim = SimVQ(dim, codes, rotation_trick=False, input_to_quantize_commit_loss_weight=0.0)

    def start(self, vectors: Tensor) -> None:
        """Nothing to set: the map learns from its random start."""

    def assign(self, vectors: Tensor, *, update: bool) -> Assigned:
        """`update` changes nothing here: the optimiser moves the map."""
        _, codes, loss = self.sim(vectors.detach()[None])
        return Assigned(F.embedding(codes[0], self.rows()), codes[0], loss, 0)

    def rows(self) -> Tensor:
        return self.sim.codebook.detach()
