from __future__ import annotations

import numpy as np
import pytest
import torch

from phonoscope.codecs.checkpoints import random_codec
from phonoscope.codecs.registry import codec_kind
from phonoscope.errors import DataError

from .tiny import ARCHITECTURES, EVERY, TRANSFORMERS, codes_of, living, voice


@pytest.mark.parametrize("kind", EVERY)
def test_codes_have_one_column_for_every_whole_frame_however_short_the_utterance(kind: str) -> None:
    codec = living(kind)
    for extra in (0, 1, codec.hop_length - 1):
        codes = codes_of(codec, voice(1.0, codec.sample_rate, seed=1)[: 20 * codec.hop_length + extra])
        assert codes.shape == (1, codec.n_layers, 20)
        assert codes.dtype == torch.int64
        assert 0 <= int(codes.min()) <= int(codes.max()) < codec.codebook_size
    assert len(codes.unique()) > 5  # otherwise nothing below is tested
    codes = codes_of(codec, voice(0.05, codec.sample_rate))
    assert codes.shape[2] == round(0.05 * codec.sample_rate) // codec.hop_length
    with torch.inference_mode():
        first, every = codec.decode(codes[:, :1]), codec.decode(codes)
    assert first.shape == every.shape == (1, 1, every.shape[2])
    assert 0 <= codes.shape[2] * codec.hop_length - every.shape[2] < codec.hop_length
    assert not torch.equal(first, every)


@pytest.mark.parametrize("kind", EVERY)
def test_a_batch_of_equal_lengths_equals_single_utterances(kind: str) -> None:
    codec = living(kind)
    clips = np.stack([voice(0.5, codec.sample_rate, seed) for seed in range(3)])
    assert torch.equal(codes_of(codec, clips), torch.cat([codes_of(codec, clip) for clip in clips]))


@pytest.mark.parametrize("kind", ["encodec", "transformers-encodec", "transformers-mimi"])
def test_causal_codecs_change_no_code_for_what_follows(kind: str) -> None:
    codec = living(kind)
    samples = voice(1.2, codec.sample_rate)
    codes = codes_of(codec, samples[: 40 * codec.hop_length])
    padded = np.pad(samples[: 40 * codec.hop_length], (0, 3000))
    assert torch.equal(codes_of(codec, padded)[..., :40], codes)
    assert torch.equal(codes_of(codec, samples)[..., :40], codes)


@pytest.mark.parametrize("kind", ["dac", "transformers-dac"])
def test_dac_fills_the_last_frame_with_zeros(kind: str) -> None:
    codec = living(kind)
    audio = torch.from_numpy(voice(0.5)[: 20 * 320 + 100])[None, None]
    with torch.no_grad():
        filled = codec.latent(torch.nn.functional.pad(audio, (0, 220)))
        torch.testing.assert_close(codec.latent(audio), filled, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", EVERY)
def test_code_vectors_are_those_stored_and_sum_to_what_the_official_class_decodes(kind: str) -> None:
    codec = living(kind)
    codes = codes_of(codec, voice(0.5, codec.sample_rate))
    books = codec.codebooks()
    assert len(books.vectors) == len(books.raw) == codec.n_layers
    latent = sum(rows[codes[0, layer]] for layer, rows in enumerate(books.vectors)).t()[None]
    quantizer = codec.model.quantizer
    with torch.no_grad():
        if kind.endswith("dac"):
            official = quantizer.from_codes(codes)[0]
        elif kind == "transformers-mimi":
            official = quantizer.decode(codes)
        else:
            decoder = quantizer if kind in TRANSFORMERS else quantizer.vq
            official = decoder.decode(codes.transpose(0, 1))
        torch.testing.assert_close(latent, official, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(codec.decode_latent(latent), codec.decode(codes), atol=1e-5, rtol=1e-4)
    (shape,) = {rows.shape for rows in books.raw}
    stored = {tuple(rows.flatten().tolist()) for rows in codec.model.state_dict().values() if rows.shape == shape}
    assert {tuple(rows.flatten().tolist()) for rows in books.raw} <= stored
    assert {len(rows) for rows in (*books.raw, *books.vectors)} == {codec.codebook_size}


@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind != "transformers-mimi"])
def test_codes_are_the_nearest_vectors_of_the_residual(kind: str) -> None:
    codec = living(kind)
    with torch.no_grad():
        latent = codec.latent(torch.from_numpy(voice(0.4, codec.sample_rate))[None, None])
        codes, residual = codec.quantize(latent)[0], latent[0].t()
        for layer, rows in enumerate(codec.codebooks().vectors):
            if kind.endswith("dac"):  # by the angle, in the space of the raw rows
                official = codec.model.quantizer.quantizers[layer]
                query = torch.nn.functional.normalize(official.in_proj(residual.t()[None])[0].t())
                nearest = (query @ torch.nn.functional.normalize(codec.codebooks().raw[layer]).t()).argmax(dim=1)
            else:
                nearest = torch.cdist(residual, rows).argmin(dim=1)
            assert (nearest == codes[layer]).float().mean() > 0.97  # the rest are ties of rounding
            residual = residual - rows[codes[layer]]


@pytest.mark.parametrize("kind", list(ARCHITECTURES))
def test_a_small_model_has_the_layers_that_its_kind_says_and_may_use_fewer(kind: str) -> None:
    codec, layers = random_codec(kind, 2), codec_kind(kind).small_layers
    assert codec.n_layers == len(codec.codebooks().vectors) == 2
    assert random_codec(kind).n_layers == layers
    with pytest.raises(DataError, match=rf"has {layers} RVQ layers, not 99; ask for fewer"):
        random_codec(kind, 99)
