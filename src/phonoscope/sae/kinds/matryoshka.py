"""Matryoshka BatchTopK: Bussmann et al. 2025, Learning multi-level features (2503.17547)."""

from __future__ import annotations

from pydantic import field_validator

from phonoscope.sae.kinds.base import register
from phonoscope.sae.kinds.batchtopk import BatchTopK


@register("matryoshka")
class Matryoshka(BatchTopK):
    """BatchTopK whose first features reconstruct alone too, in nested groups."""

    groups: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 1.0)
    """Nested groups as shares of the features, ascending to 1."""

    @field_validator("groups")
    @classmethod
    def _ascending(cls, groups: tuple[float, ...]) -> tuple[float, ...]:
        if not groups or groups[0] <= 0 or list(groups) != sorted(set(groups)) or groups[-1] != 1:
            raise ValueError("shares must ascend from above 0 to 1")
        return groups

    def prefixes(self, width: int) -> tuple[int, ...]:
        # of few features, small shares round to the same number: one group then, which counts once in the loss
        return tuple(dict.fromkeys(max(1, round(share * width)) for share in self.groups))
