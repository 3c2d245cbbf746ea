"""TopK: Gao et al. 2024, Scaling and evaluating sparse autoencoders (2406.04093)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from torch import Tensor

from phonoscope.sae.kinds.base import Kind, register
from phonoscope.sae.sparse import Pattern, top_k

if TYPE_CHECKING:
    from phonoscope.sae.models import SparseAutoencoder


@register("topk")
class TopK(Kind):
    """The k largest features of every frame are active, as far as they are positive."""

    architecture = "topk"

    def select(self, model: SparseAutoencoder, scores: Tensor) -> Pattern:
        return top_k(scores, model.shape.k)

    def active(self, model: SparseAutoencoder, scores: Tensor) -> Pattern:
        return top_k(scores, model.shape.k)

    def read_at(self, model: SparseAutoencoder, batches: Iterable[Tensor]) -> None:
        """Nothing to set: k itself decides."""
