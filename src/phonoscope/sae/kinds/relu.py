"""ReLU with an L1 penalty: Bricken et al. 2023, Towards monosemanticity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field
from torch import Tensor

from phonoscope.sae.kinds.base import Kind, register
from phonoscope.sae.sparse import Pattern

if TYPE_CHECKING:
    from phonoscope.sae.models import SparseAutoencoder


@register("relu")
class Relu(Kind):
    """All positive features are active; the penalty weighs each activation by its decoder norm."""

    architecture = "standard"
    resampled_norm = 0.2  # Bricken et al.: every positive feature fires, so that a long row would throw others off
    l1: float = Field(default=0.2, ge=0)  # weight of the L1 penalty

    def activate(self, model: SparseAutoencoder, pattern: Pattern, values: Tensor) -> tuple[Tensor, Tensor]:
        # without the norms a crosscoder, whose rows are free, would escape: small activations, long rows
        return values, self.l1 * (values * model.norms()[pattern.columns]).sum() / pattern.n
