"""The files that stage `browse` reads, with planted frames and a rising tone for speech."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from phonoscope import paths
from phonoscope.audio import write_flac
from phonoscope.files import write_csv
from phonoscope.sae.interpret.run import interpret
from phonoscope.sae.interpret.store import save_interpretation
from tests.sae.interpret.planted import plant

from .planted_features import CAUSAL, CONFIG

SITE = "encoder_3"
PARAMS: Any = SimpleNamespace(interpret=CONFIG)


def write_interpretation() -> None:
    """Write data/corpus, data/interpret/<site> and metrics/causal/<site>.csv below the working directory."""
    planted = plant(speakers=4, utterances=3)
    names = planted.index["utterance"].cat.categories.tolist()
    time = np.arange(8000) / 16000
    tone = 0.5 * np.sin(2 * np.pi * (500 + 4000 * time) * time)
    for name in names:
        write_flac(paths.CORPUS / f"{name}.flac", tone.astype(np.float32), 16000)
    result = interpret(planted.activations, planted.index, CONFIG)
    folder, speech = paths.interpretation(SITE), tone.astype(np.float32)
    save_interpretation(folder, result, planted.activations, lambda utterance: speech, CONFIG.clip_s)
    steered = CAUSAL.assign(intervention="steer", difference=9.0)
    write_csv(paths.causal_metrics(SITE), pd.concat([CAUSAL.assign(intervention="ablate"), steered]))
