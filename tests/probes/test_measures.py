from __future__ import annotations

import numpy as np

from phonoscope.config.probes import DepthConfig
from phonoscope.probes.examples import Examples, Fold
from phonoscope.probes.inputs import TableInput
from phonoscope.probes.measures import Probing


def test_a_collapsed_layer_has_no_control_task() -> None:
    """All codes of training have one random class there, which no probe can be fitted to."""
    count = 40
    labels = np.tile([0, 1], count // 2)
    fold = Fold(np.arange(4) < 3, np.arange(4) == 3)
    examples = Examples(labels, ("a", "b"), np.repeat(np.arange(4), 10), np.arange(4), [fold])
    probing = Probing(examples, TableInput(np.zeros(count, np.int64), np.eye(4)), DepthConfig(), 0, 0)
    assert {measure.measure for measure in probing.measures("linear")} == {"accuracy", "macro_f1"}
