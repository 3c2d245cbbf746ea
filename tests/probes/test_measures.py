from __future__ import annotations

import numpy as np

from phonoscope.config.probes import DepthConfig
from phonoscope.probes.examples import Examples
from phonoscope.probes.inputs import TableInput
from phonoscope.probes.measures import probe_measures
from phonoscope.probes.splits import Fold


def test_a_collapsed_layer_has_no_control_task() -> None:
    """All codes of training have one random class there, which no probe can be fitted to."""
    count = 40
    labels = np.tile([0, 1], count // 2)
    fold = Fold(np.arange(4) < 3, np.arange(4) == 3)
    examples = Examples(labels, ("a", "b"), np.repeat(np.arange(4), 10), np.arange(4), [fold])
    source = TableInput(np.zeros(count, np.int64), np.eye(4))
    config = DepthConfig()
    measures, _ = probe_measures(examples, source, config, 0, names=["linear"], pooled=False)
    assert {measure.measure for measure in measures} == {"accuracy", "macro_f1"}
