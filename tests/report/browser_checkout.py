"""The files that stage `browse` reads, with planted frames and a rising tone for speech."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from phonoscope import paths
from phonoscope.audio import write_flac
from phonoscope.files import write_csv
from phonoscope.interpret.run import interpret
from phonoscope.pipeline.interpret import write_interpretation as write
from tests.interpret.planted import plant

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
    manifest = pd.DataFrame({"utterance": names, "path": [f"{name}.flac" for name in names], "sample_rate": 16000})
    found = interpret(planted.activations, planted.index, CONFIG)
    write(paths.interpretation(SITE), found, planted.activations, manifest, CONFIG.clip_s)
    steered = CAUSAL.assign(intervention="steer", difference=9.0)
    write_csv(paths.causal_metrics(SITE), pd.concat([CAUSAL.assign(intervention="ablate"), steered]))
