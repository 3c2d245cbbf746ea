"""Every kind finds a planted dictionary and how often its vectors are used."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from phonoscope.sae import Frames, models, train_sae
from tests.sae.planted import ACTIVE, DIMS, FEATURES, OFFSET, Planted, config, matches, plant

TRAIN, HELD_OUT = plant(4096, seed=0), plant(1024, seed=1)


@pytest.mark.parametrize("kind", ["relu", "topk", "batchtopk", "jumprelu", "matryoshka", "jumprelu in bfloat16"])
def test_autoencoders_recover_the_dictionary_and_the_density(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, _, mixed = kind.partition(" in ")
    if mixed:  # the path that CUDA takes, by the CPU's own autocast
        monkeypatch.setattr(models, "MIXED_PRECISION", {"cpu"})
    result = train_sae(TRAIN.frames, HELD_OUT.frames, config=config(kind=kind))
    assert all(parameter.dtype == torch.float32 for parameter in result.model.parameters())
    cosines, rows = matches(result.model.W_dec.numpy(), TRAIN.dictionary)
    assert cosines.mean() > 0.95
    assert len(set(rows)) > 0.95 * FEATURES
    true = (HELD_OUT.coefficients > 0).mean(axis=0)
    assert np.median(np.abs(result.features["density"].to_numpy()[rows] - true)) < 0.1 * ACTIVE / FEATURES
    # the L1 penalty does not fix the L0: below its bias lie many weak activations
    assert result.scores.l0 == pytest.approx(ACTIVE, rel=0.35 if kind == "relu" else 0.1)


def test_mixed_precision_rounds_the_encoders_product_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.from_numpy(TRAIN.frames[:64])
    model = models.SparseAutoencoder(models.build_shape("autoencoder", config(kind="topk"), d_in=DIMS, d_out=DIMS))
    torch.nn.init.normal_(model.encoder, generator=torch.Generator().manual_seed(0))
    exact = model.select(x)[2]
    monkeypatch.setattr(models, "MIXED_PRECISION", {"cpu"})
    rounded = model.select(x)[2]
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, rounded.bfloat16().float())
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.1)


def test_transcoders_recover_what_each_input_direction_writes() -> None:
    written = np.random.default_rng(5).normal(size=(FEATURES, DIMS))
    written /= np.linalg.norm(written, axis=1, keepdims=True)
    fitted, scored = (
        Frames.of(data.frames, (data.coefficients @ written).astype(np.float32)) for data in (TRAIN, HELD_OUT)
    )
    result = train_sae(fitted, scored, config=config())
    cosines, rows = matches(result.model.W_dec.numpy(), written)
    assert cosines.mean() > 0.95
    encoder = result.model.encoder.numpy()[rows]
    assert (encoder * TRAIN.dictionary).sum(axis=1).mean() > 0.6 * np.linalg.norm(encoder, axis=1).mean()


def test_a_skip_connection_takes_what_is_affine() -> None:
    affine = np.random.default_rng(6).normal(size=(DIMS, DIMS)) / np.sqrt(DIMS)
    fitted, scored = (Frames.of(data.frames, (data.frames @ affine).astype(np.float32)) for data in (TRAIN, HELD_OUT))
    plain, skip = (train_sae(fitted, scored, config=config(skip=skip, epochs=8)) for skip in (False, True))
    assert skip.scores.fvu < 0.5 * plain.scores.fvu


@pytest.mark.parametrize("kind", ["relu", "topk"])
def test_crosscoders_recover_shared_directions_and_the_layers_they_live_in(kind: str) -> None:
    second = np.random.default_rng(7).normal(size=(FEATURES, DIMS))
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    second[: FEATURES // 4] = 0.0  # a quarter of the features lives in the first layer alone

    def stacked(data: Planted) -> np.ndarray:
        return np.stack([data.frames, data.coefficients @ second + OFFSET], axis=1).astype(np.float32)

    options = {"l1": 0.25} if kind == "relu" else {}
    result = train_sae(stacked(TRAIN), stacked(HELD_OUT), config=config(kind=kind, options=options))
    decoder = result.model.W_dec.numpy()
    cosines, rows = matches(decoder, np.hstack([TRAIN.dictionary, second]) / np.sqrt(2))
    cosines[: FEATURES // 4] *= np.sqrt(2)
    assert cosines.mean() > 0.9
    norms = np.linalg.norm(decoder.reshape(len(decoder), 2, DIMS), axis=2)[rows]
    share = norms[:, 1] / norms.sum(axis=1)
    assert np.median(share[: FEATURES // 4]) < 0.15
    assert np.median(share[FEATURES // 4 :]) == pytest.approx(0.5, abs=0.1)
