"""Whether intervals over speakers cover the mean over draws of speakers."""

from __future__ import annotations

import pytest
from sklearn import config_context

from phonoscope.config.geometry import GeometryConfig, WordProbeConfig

from .planted import coverage, scored, spoken

CONFIG = GeometryConfig(permutations=1, probe=WordProbeConfig(max_iter=1, folds=2))


@pytest.mark.parametrize("speakers", [14, 6])
def test_intervals_cover(speakers: int) -> None:
    with config_context(assume_finite=True, skip_parameter_validation=True):
        runs = [scored(spoken(seed, speakers=speakers, words=4, takes=2, shared=0.6), CONFIG) for seed in range(40)]
    table = coverage(runs).set_index("measure")
    # the probe is not refitted without each speaker: its intervals are too narrow, which docs/geometry.md states
    table = table[~table.index.str.startswith("probe_accuracy")]
    assert {"silhouette by word", "map_at_r by word", "nn_accuracy by word, difference"} <= set(table.index)
    assert table["covered"].min() >= 0.85, table
