"""BatchTopK: Bussmann et al. 2024 (2412.06410)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pydantic import PrivateAttr
from torch import Tensor

from phonoscope.sae.kinds.base import Kind, register
from phonoscope.sae.sparse import Pattern, batch_top_k

if TYPE_CHECKING:
    from phonoscope.sae.models import SparseAutoencoder


@register("batchtopk")
class BatchTopK(Kind):
    """The k * n largest features of a batch of n frames are active; in inference all above one threshold."""

    _guess: float = PrivateAttr(default=0.0)
    """Smallest entry of the last batch. It saves time and changes no result, so that no checkpoint needs it."""

    def start(self, model: SparseAutoencoder, batches: Iterable[Tensor]) -> None:
        model.calibrate(batches)

    def select(self, model: SparseAutoencoder, scores: Tensor) -> Pattern:
        pattern, self._guess = batch_top_k(scores, model.shape.k, self._guess)
        return pattern

    def finish(self, model: SparseAutoencoder, batches: Iterable[Tensor]) -> None:
        model.calibrate(batches)  # one threshold: a frame's features must not depend on the others of its batch
