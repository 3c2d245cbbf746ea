"""Codebooks that are exponential moving averages, with replacement of dead codes; and one with a known fault.

The update is `phonoscope.ema`; k-means and sampling are vector-quantize-pytorch's. Its own codebook multiplies by
one-hot codes (three times the cost) and calls a code dead by an absolute EMA count, which means another usage at every
batch size; here usage is relative to uniform usage over a window of steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from vector_quantize_pytorch.vector_quantize_pytorch import kmeans, sample_vectors

from phonoscope.compute import derive_seed
from phonoscope.ema import ema_codes, ema_update, smoothed_shares

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
