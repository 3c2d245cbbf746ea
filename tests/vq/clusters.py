"""Unit vectors around planted directions, like the encoder outputs that the quantizers are for."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class Clusters:
    """A stream of batches of unit vectors [n, dim] around `count` directions."""

    def __init__(self, count: int = 50, dim: int = 64, spread: float = 0.1, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.centres = F.normalize(torch.randn(count, dim, generator=self.generator), dim=-1)
        self.spread = spread

    def draw(self, n: int) -> Tensor:
        count, dim = self.centres.shape
        centres = self.centres[torch.randint(count, (n,), generator=self.generator)]
        return F.normalize(centres + self.spread * torch.randn(n, dim, generator=self.generator), dim=-1)
