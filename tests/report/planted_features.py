"""Results of stage `interpret` on planted frames, and causal tests of two features."""

from __future__ import annotations

import pandas as pd

from phonoscope.config.interpret import InterpretConfig
from phonoscope.report.browser.page import Interpreted
from phonoscope.sae.interpret.run import interpret
from tests.sae.interpret.planted import plant

CONFIG = InterpretConfig(
    top_k=4, min_segments=3, bootstrap=20, trees=2, map_points=10, forest_utterances=20, clip_features=2
)
CAUSAL = pd.DataFrame(
    {
        "feature": [0, 1],
        "difference": [-0.4, -0.01],
        "difference_low": [-0.6, -0.1],
        "difference_high": [-0.2, 0.1],
        "causal": [True, False],
    }
)


def interpreted() -> Interpreted:
    planted = plant(speakers=4, utterances=3)
    result = interpret(planted.activations, planted.index, CONFIG)
    return Interpreted(result.features, result.windows, result.means, result.scores, result.skipped, CAUSAL)
