from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from phonoscope.codecs.quality import clip_quality, mel_distance_db, quality_table, si_sdr_db, stoi

from .tiny import voice


def orthogonal_noise(samples: np.ndarray, seed: int = 0) -> np.ndarray:
    """Noise of zero mean that is orthogonal to the samples, with their energy."""
    centred = samples.astype(np.float64) - samples.mean()
    noise = np.random.default_rng(seed).standard_normal(len(samples))
    noise -= noise.mean()
    noise -= centred * (noise @ centred) / (centred @ centred)
    return noise * np.sqrt((centred @ centred) / (noise @ noise))


@pytest.mark.parametrize("gain", [0.01, 1.0, -3.0])
@pytest.mark.parametrize("level_db", [-20.0, 0.0, 30.0])
def test_si_sdr_is_the_level_of_orthogonal_noise_at_any_scale_and_offset(level_db: float, gain: float) -> None:
    samples = voice(0.5).astype(np.float64)
    noisy = samples + orthogonal_noise(samples) * 10 ** (-level_db / 20)
    assert si_sdr_db(samples, gain * noisy + 0.1) == pytest.approx(level_db, abs=1e-6)


def test_si_sdr_is_finite_at_the_extremes() -> None:
    samples, silence = voice(0.2), np.zeros(3200, dtype=np.float32)
    assert si_sdr_db(samples, samples) > 100
    assert si_sdr_db(samples, silence) == pytest.approx(-100)
    assert si_sdr_db(silence, samples) < -80


@pytest.mark.parametrize("rate", [16_000, 24_000])
def test_mel_distance_is_zero_on_identity_the_gain_on_a_louder_copy_and_bounded_for_silence(rate: int) -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal(rate)).astype(np.float32)
    assert mel_distance_db(noise, noise, rate) == 0
    assert mel_distance_db(noise, 2 * noise, rate) == pytest.approx(20 * np.log10(2), abs=1e-3)
    assert 10 < mel_distance_db(voice(0.5), np.zeros(8000, dtype=np.float32), rate) <= 80


def test_stoi_is_one_on_identity_falls_with_noise_and_is_none_for_too_little_speech() -> None:
    samples = voice(2.0)
    scores = [stoi(samples, samples + gain * orthogonal_noise(samples), 16_000) for gain in (0.0, 0.5, 3.0)]
    assert scores[0] == pytest.approx(1.0, abs=1e-3)
    assert scores[0] > scores[1] > scores[2]
    for short in (voice(0.5), np.pad(voice(0.2), (0, 16_000))):
        assert stoi(short, short, 16_000) is None


class SuccessiveApproximation:
    """A codec of scalar quantizers, each four times finer than the one before: every layer adds two bits."""

    sample_rate, hop_length, n_layers, codebook_size = 16_000, 1, 5, 4

    def __init__(self) -> None:
        self.model = torch.nn.Linear(1, 1)
        self.steps = [0.5 * 4.0**-layer for layer in range(self.n_layers)]

    def latent(self, audio: torch.Tensor) -> torch.Tensor:
        return audio

    def quantize(self, latent: torch.Tensor) -> torch.Tensor:
        residual, codes = latent[:, 0], []
        for step in self.steps:
            codes.append((residual / step + 2).floor().clamp(0, 3).long())
            residual = residual - (codes[-1] - 1.5) * step
        return torch.stack(codes, dim=1)

    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        return sum((codes[:, layer] - 1.5) * self.steps[layer] for layer in range(codes.shape[1]))[:, None]


def clip(seconds: float, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * 16_000)) / 16_000
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 3 * t)
    return (0.4 * swell * np.sin(2 * np.pi * 300 * t) + 0.1 * rng.standard_normal(len(t))).astype(np.float32)


def test_reconstruction_gets_better_by_what_each_layer_adds() -> None:
    qualities = [clip_quality(SuccessiveApproximation(), clip(s, seed)) for seed, s in enumerate((1.0, 1.0, 0.3))]
    table = quality_table(qualities)
    by_layer = table.pivot(index="layer", columns="metric", values="value")
    assert by_layer.index.tolist() == [1, 2, 3, 4, 5]
    assert np.diff(by_layer["si_sdr_db"]) == pytest.approx(12, abs=2)  # two bits
    assert (np.diff(by_layer["mel_distance_db"]) < 0).all()
    assert (np.diff(by_layer["stoi"]) > 0).all()
    numbers = table.pivot(index="layer", columns="metric", values="n").iloc[0].to_dict()
    assert numbers == {"si_sdr_db": 3, "mel_distance_db": 3, "stoi": 2}  # 0.3 s is too short for STOI
    assert set(quality_table(qualities[2:])["metric"]) == {"si_sdr_db", "mel_distance_db"}  # no clip has a STOI
