"""Controls: random features of the same density."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CANDIDATES = 20
"""Number of features of the nearest density from which a control is drawn."""


def density_controls(
    chosen: Sequence[int], density: NDArray[np.floating], excluded: Collection[int], seed: int
) -> list[int]:
    """One control for each chosen feature, all different, from the live features of the nearest density (by ratio).

    Args:
        density: share of frames where each feature is active, [width].
        excluded: features that may not be controls, such as other detectors; the chosen ones never are.
    Raises: `ValueError` if fewer live features than chosen ones are left.
    """
    rng = np.random.default_rng(seed)
    barred = set(chosen) | set(excluded)
    free = [feature for feature in range(len(density)) if density[feature] > 0 and feature not in barred]
    if len(free) < len(chosen):
        raise ValueError(f"{len(free)} live features are left as controls for {len(chosen)}")
    controls = []
    for feature in chosen:
        distance = np.abs(np.log(density[free]) - np.log(density[feature]))
        near = np.argsort(distance, kind="stable")[:CANDIDATES]
        controls.append(free.pop(int(rng.choice(near))))
    return controls
