from __future__ import annotations

import numpy as np

from phonoscope.causal.study import CANDIDATES, density_controls


def test_controls_are_near_in_density_and_never_barred() -> None:
    rng = np.random.default_rng(0)
    density = 10 ** rng.uniform(-4, -1, 500)
    density[:50] = 0  # dead
    chosen, excluded = [60, 61, 62, 100, 400], set(range(200, 300))
    controls = density_controls(chosen, density, excluded, seed=3)
    assert len(set(controls)) == len(chosen)
    assert not set(controls) & (set(chosen) | excluded | set(range(50)))
    free = [f for f in range(50, 500) if f not in excluded and f not in chosen]
    for feature, control in zip(chosen, controls, strict=True):
        distance = np.abs(np.log(density[free] / density[feature]))
        assert abs(np.log(density[control] / density[feature])) <= np.sort(distance)[CANDIDATES + len(chosen)]


def test_controls_are_random_but_fixed_by_the_seed() -> None:
    density = np.full(300, 0.01)
    drawn = [tuple(density_controls([0, 1, 2], density, (), seed)) for seed in (0, 0, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1
