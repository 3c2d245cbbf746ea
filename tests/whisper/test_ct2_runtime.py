"""The packaged weights, as we read them, against CTranslate2, another runtime on the same file."""

from __future__ import annotations

import ctranslate2
import numpy as np
import torch
from numpy.typing import NDArray

from phonoscope.whisper import Whisper
from phonoscope.whisper.model import FRAME_SAMPLES, Encoded, _packaged_folder, embed, generate_tokens, run_blocks
from phonoscope.whisper.transcript import prompt

from .speech import SENTENCES

POSITIONS = 1500


def test_every_token_is_ctranslate2s(packaged: Whisper, speech: list[NDArray[np.float32]]) -> None:
    runtime = ctranslate2.models.Whisper(str(_packaged_folder()), device="cpu", compute_type="float32", intra_threads=1)
    mel = packaged.feature_extractor(speech, sampling_rate=16_000, return_tensors="np").input_features
    start = [prompt(packaged)] * len(speech)
    results = runtime.generate(ctranslate2.StorageView.from_array(mel), start, beam_size=1)
    with torch.no_grad():
        stream = run_blocks(packaged, embed(packaged, speech, POSITIONS * FRAME_SAMPLES))
        ours = generate_tokens(packaged, Encoded(packaged, stream))
    end = packaged.model.generation_config.eos_token_id
    for found, row in zip(results, ours.tolist(), strict=True):
        text = [token for token in row if token != end and token not in prompt(packaged)]
        assert text == found.sequences_ids[0]
        assert len(text) >= min(len(sentence.split()) for sentence in SENTENCES)


def test_the_encoder_is_ctranslate2s(packaged: Whisper, speech: list[NDArray[np.float32]]) -> None:
    runtime = ctranslate2.models.Whisper(str(_packaged_folder()), device="cpu", compute_type="float32", intra_threads=1)
    mel = packaged.feature_extractor(speech[:1], sampling_rate=16_000, return_tensors="np").input_features
    theirs = np.array(runtime.encode(ctranslate2.StorageView.from_array(mel)))
    with torch.no_grad():
        stream = run_blocks(packaged, embed(packaged, speech[:1], POSITIONS * FRAME_SAMPLES))
        ours = packaged.model.model.encoder.layer_norm(stream).numpy()
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
