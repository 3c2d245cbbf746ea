from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from phonoscope.alignment.pitch import f0_track
from phonoscope.config.alignment import AlignmentConfig
from phonoscope.data.labels import frame_labels, sample_f0

from .spoken import speak

CONFIG = AlignmentConfig()


def voice(f0_hz: NDArray[np.float64], rate: int, harmonics: int = 8) -> NDArray[np.float32]:
    phase = 2 * np.pi * np.cumsum(f0_hz) / rate
    partials = np.stack([np.sin(k * phase) / k for k in range(1, harmonics + 1)])
    return (0.1 * partials.sum(axis=0)).astype(np.float32)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000])
@pytest.mark.parametrize(("low", "high", "harmonics"), [(80.0, 140.0, 8), (160.0, 330.0, 8), (220.0, 220.0, 1)])
def test_a_glide_and_a_sine_are_recovered_within_one_percent(
    rate: int, low: float, high: float, harmonics: int
) -> None:
    seconds = np.arange(2 * rate) / rate
    times_s, f0_hz = f0_track(voice(low + (high - low) * seconds / 2, rate, harmonics), rate, CONFIG)
    assert (times_s.dtype, f0_hz.dtype) == (np.float64, np.float32)
    assert times_s.tolist() == [k / 100 for k in range(201)]
    truth = low + (high - low) * times_s / 2
    np.testing.assert_allclose(f0_hz[10:-10], truth[10:-10], rtol=0.01)


@given(samples=st.integers(800, 20_000), f0_min_hz=st.floats(40, 200))
def test_every_length_has_one_frame_each_10_ms(samples: int, f0_min_hz: float) -> None:
    audio = voice(np.full(samples, 220.0), 16_000)
    times_s, f0_hz = f0_track(audio, 16_000, AlignmentConfig(f0_min_hz=f0_min_hz))
    assert len(times_s) == len(f0_hz) == 1 + samples // 160
    assert times_s[-1] <= samples / 16_000


def test_an_onset_is_where_it_is() -> None:
    """A window of three periods is half of speech at the onset, so it lies within half a window."""
    for start_s in (0.4, 0.613):
        audio = voice(np.full(32_000, 200.0), 16_000) * (np.arange(32_000) >= start_s * 16_000)
        times_s, f0_hz = f0_track(audio.astype(np.float32), 16_000, CONFIG)
        assert abs(times_s[np.isfinite(f0_hz)][0] - start_s) <= 0.025


def test_noise_and_silence_are_unvoiced() -> None:
    noise = np.random.default_rng(1).standard_normal(32_000).astype(np.float32)
    smooth = np.convolve(noise, np.ones(6) / 6)[:32_000]
    for samples in (0.1 * noise, 1e-3 * noise, 0 * noise, smooth):
        _, f0_hz = f0_track(samples.astype(np.float32), 16_000, CONFIG)
        assert np.isfinite(f0_hz).mean() < 0.02


def test_a_faint_hum_in_the_pauses_is_unvoiced() -> None:
    seconds = np.arange(32_000) / 16_000
    hum = 5e-4 * np.sin(2 * np.pi * 100 * seconds)
    speech = np.where((seconds > 0.5) & (seconds < 1.5), voice(np.full(32_000, 150.0), 16_000), 0)
    times_s, f0_hz = f0_track((hum + speech).astype(np.float32), 16_000, CONFIG)
    assert not np.isfinite(f0_hz[times_s < 0.45]).any()
    np.testing.assert_allclose(f0_hz[(times_s > 0.6) & (times_s < 1.4)], 150, rtol=0.01)


def test_voicing_of_speech() -> None:
    samples, rate, _, alignment = speak("seven men saw us sing a long slow song", "en-us+f2")
    times_s, f0_hz = f0_track(samples, rate, CONFIG)
    labels = frame_labels(alignment.phones, int(len(samples) / rate * 100), 100)
    voiced = np.isfinite(sample_f0(times_s, f0_hz, (np.arange(len(labels)) + 0.5) / 100))
    assert voiced[np.isin(labels, ["AA", "AO", "EH", "IH", "OW", "M", "N", "NG"])].mean() > 0.9
    assert voiced[labels == "S"].mean() < 0.4


def test_sample_f0_interpolates_between_voiced_neighbours_only() -> None:
    times_s = np.arange(5, dtype=np.float64) / 100
    f0_hz = np.array([100, 110, np.nan, 200, 210], dtype=np.float32)
    at_s = np.array([0.0, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.0325, 0.04, 0.045, -0.005])
    expected = [100, 105, 107.5, 110, np.nan, np.nan, 200, 202.5, 210, np.nan, np.nan]
    np.testing.assert_allclose(sample_f0(times_s, f0_hz, at_s), expected, rtol=1e-6)
    assert sample_f0(times_s[:0], f0_hz[:0], at_s[:2]).tolist() == pytest.approx([np.nan] * 2, nan_ok=True)
