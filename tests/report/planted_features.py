"""Results of stage `interpret` on planted frames, causal tests of two features, and the files of stage `browse`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from phonoscope import paths
from phonoscope.audio import write_flac
from phonoscope.config.interpret import InterpretConfig
from phonoscope.files import write_csv
from phonoscope.sae.interpret.run import interpret
from phonoscope.sae.interpret.store import save_interpretation
from tests.sae.interpret.planted import plant

SITE = "encoder_3"
CONFIG = InterpretConfig(top_k=4, min_segments=3, trees=2, map_points=10, forest_utterances=20, clip_features=2)
PARAMS: Any = SimpleNamespace(interpret=CONFIG)
CAUSAL = pd.DataFrame(
    [(0, -0.4, -0.6, -0.2, True), (1, -0.01, -0.1, 0.1, False)],
    columns=["feature", "difference", "difference_low", "difference_high", "causal"],
)


def interpreted() -> dict[str, pd.DataFrame]:
    planted = plant(speakers=4, utterances=3)
    result = interpret(planted.activations, planted.index, CONFIG)
    return {"features": result.features, "windows": result.windows, "means": result.means, "causal": CAUSAL}


def write_interpretation() -> None:
    """Write data/corpus, data/interpret/<site> and metrics/causal/<site>.csv below the working directory.

    A rising tone stands for speech.
    """
    planted = plant(speakers=4, utterances=3)
    time = np.arange(8000) / 16000
    tone = (0.5 * np.sin(2 * np.pi * (500 + 4000 * time) * time)).astype(np.float32)
    for name in planted.index["utterance"].cat.categories:
        write_flac(paths.CORPUS / f"{name}.flac", tone, 16000)
    result = interpret(planted.activations, planted.index, CONFIG)
    save_interpretation(paths.interpretation(SITE), result, planted.activations, lambda utterance: tone, CONFIG.clip_s)
    tested = CAUSAL.drop(columns="causal").assign(verdict=np.where(CAUSAL["causal"], "causal", "undecided"))
    steered = tested.assign(intervention="steer", difference=9.0, difference_low=8.0, difference_high=10.0)
    write_csv(paths.causal_metrics(SITE), pd.concat([tested.assign(intervention="ablate"), steered]))
