from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from phonoscope.config.sites import Site
from phonoscope.errors import DataError
from phonoscope.whisper import Whisper, encoder_features, load_whisper
from phonoscope.whisper.features import agreement, extract, row_points, text_spans
from phonoscope.whisper.transcript import TextTokens, token_batch
from phonoscope.whisper.utterances import batches, plan_windows, window_audio

from .checkout import noise

Audio = NDArray[np.float32]


def take(
    whisper: Whisper, names: list[str], audio: list[Audio], texts: Any = None, normalize: Any = "none", **packing: Any
) -> dict[str, list[Audio]]:
    """Features of whole utterances by site."""
    windows = plan_windows([len(u) for u in audio], ["a"] * len(audio), **{"context_s": 2.0, **packing})
    told = texts or [TextTokens((), ())] * len(audio)
    rows: dict[str, list[list[NDArray[np.float16]]]] = {name: [[] for _ in audio] for name in names}
    for batch in batches(windows, 60.0):
        heard = [window_audio(window, audio.__getitem__) for window in batch]
        spoken = [[told[piece.utterance] for piece in window.pieces] for window in batch]
        taken = extract(whisper, [Site.parse(name) for name in names], batch, heard, spoken, normalize)
        for site, blocks in taken.items():
            for block in sorted(blocks, key=lambda block: block.first):
                rows[site.name][block.utterance].append(block.values)
    return {name: [np.concatenate(parts).astype(np.float32) for parts in own] for name, own in rows.items()}


def test_rows_are_the_utterances_own_frames_and_no_padding(tiny: Whisper) -> None:
    utterances = [noise(9999, 1), noise(320, 2), noise(20_001, 3)]
    features = take(tiny, ["encoder_2"], utterances)["encoder_2"]
    expected = encoder_features(tiny, utterances, 2, context_s=2.0)
    for values, states in zip(features, expected, strict=True):
        np.testing.assert_allclose(values, states.numpy(), rtol=2e-3, atol=2e-3)


def test_an_utterance_longer_than_the_window_is_joined(tiny: Whisper) -> None:
    (values,) = take(tiny, ["encoder_1"], [noise(31 * 16_000)])["encoder_1"]
    (expected,) = encoder_features(tiny, [noise(31 * 16_000)], 1)
    np.testing.assert_allclose(values, expected.numpy(), rtol=2e-3, atol=2e-3)


def test_packed_utterances_are_heard_in_one_window(tiny: Whisper) -> None:
    one, two = noise(6400, 1), noise(3200, 2)
    joined = np.concatenate([one, np.zeros(25 * 320, np.float32), two])
    first, second = take(tiny, ["encoder_3"], [one, two], pack=True)["encoder_3"]
    (expected,) = encoder_features(tiny, [joined], 3)
    np.testing.assert_allclose(first, expected[:20].numpy(), rtol=2e-3, atol=2e-3)
    np.testing.assert_allclose(second, expected[45:].numpy(), rtol=2e-3, atol=2e-3)


def test_mlp_rows_hold_input_and_output_and_stacked_rows_every_layer(tiny: Whisper) -> None:
    names = ["mlp_2", "encoder_all", "encoder_1", "encoder_2", "encoder_3"]
    features = {name: rows[0] for name, rows in take(tiny, names, [noise(9000)]).items()}
    block = tiny.model.model.encoder.layers[1]
    entering, leaving = torch.from_numpy(features["mlp_2"]).unbind(dim=1)
    torch.testing.assert_close(block.fc2(torch.nn.functional.gelu(block.fc1(entering))), leaving, rtol=1e-2, atol=2e-2)
    for position, layer in enumerate((1, 2, 3)):
        np.testing.assert_array_equal(features["encoder_all"][:, position], features[f"encoder_{layer}"])
    assert [len(row_points(tiny, Site.parse(name))) for name in names] == [2, 3, 1, 1, 1]


@pytest.mark.parametrize("pack", [False, True])
def test_the_decoder_is_taught_the_transcript(tiny: Whisper, pack: bool) -> None:
    utterances, texts = [noise(6400, 1), noise(3200, 2)], [TextTokens((5, 6, 7), (0, 1, 2)), TextTokens((8, 9), (0, 1))]
    features = take(tiny, ["decoder_1"], utterances, texts=texts, pack=pack, context_s=30.0)["decoder_1"]
    heard = [np.concatenate([utterances[0], np.zeros(8000, np.float32), utterances[1]])] if pack else utterances
    mel = tiny.feature_extractor(heard, sampling_rate=16_000, return_tensors="pt").input_features
    told = [texts[0].ids + texts[1].ids] if pack else [text.ids for text in texts]
    tokens = token_batch(tiny, told)[:, :-1]
    with torch.no_grad():
        states = tiny.model(mel, decoder_input_ids=tokens, output_hidden_states=True).decoder_hidden_states[1]
    expected = [states[0, :5], states[0, 5:7]] if pack else [states[0, :5], states[1, :4]]
    for values, own in zip(features, expected, strict=True):
        np.testing.assert_allclose(values, own.numpy(), rtol=2e-3, atol=2e-3)


def test_text_spans_tile_the_decoders_input(tiny: Whisper) -> None:
    (window,) = plan_windows([6400, 3200, 3200], ["a"] * 3, pack=True)
    texts = [TextTokens((5, 6), (0, 1)), TextTokens((), ()), TextTokens((7,), (0,))]
    assert text_spans(tiny, window, texts) == [(0, 4), (4, 4), (4, 5)]  # the prompt has two


def test_activations_beyond_float16_are_refused(checkpoint: Path) -> None:
    loud = load_whisper(str(checkpoint))
    loud.model.model.encoder.layer_norm.bias.fill_(1e6)
    with pytest.raises(DataError, match=r"encoder_1: activations beyond float16"):
        take(loud, ["encoder_1"], [noise(3200)], normalize="final")


def test_agreement_of_equal_and_of_shifted_frames() -> None:
    rng = np.random.default_rng(0)
    one = rng.standard_normal((200, 16)) + 3
    assert agreement(one, one) == {"cosine": pytest.approx(1), "difference": 0}
    other = one + rng.standard_normal((200, 16)) * 0.5
    assert agreement(one, other)["difference"] == pytest.approx(0.25, rel=0.1)
