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


def test_the_encoder_and_every_token_are_ctranslate2s(packaged: Whisper, speech: list[NDArray[np.float32]]) -> None:
    runtime = ctranslate2.models.Whisper(str(_packaged_folder()), device="cpu", compute_type="float32", intra_threads=1)
    mel = packaged.feature_extractor(speech, sampling_rate=16_000, return_tensors="np").input_features
    with torch.no_grad():
        stream = run_blocks(packaged, embed(packaged, speech, POSITIONS * FRAME_SAMPLES))
        states = packaged.model.model.encoder.layer_norm(stream).numpy()
        ours = generate_tokens(packaged, Encoded(packaged, stream))
    theirs = np.array(runtime.encode(ctranslate2.StorageView.from_array(mel)))
    np.testing.assert_allclose(states, theirs, atol=2e-3)
    start = [prompt(packaged)] * len(speech)
    results = runtime.generate(ctranslate2.StorageView.from_array(mel), start, beam_size=1)
    end = packaged.model.generation_config.eos_token_id
    for result, row in zip(results, ours.tolist(), strict=True):
        text = [token for token in row if token != end and token not in prompt(packaged)]
        assert text == result.sequences_ids[0]
        assert len(text) >= min(len(sentence.split()) for sentence in SENTENCES)
