from __future__ import annotations

import io

import numpy as np
import soundfile as sf
from PIL import Image

from phonoscope.sae.interpret.store import FRAME_SAMPLES, SAMPLE_RATE, cut_clip, flac, spectrogram, strip_png


def test_a_clip_is_the_utterance_around_its_frame_and_silent_beyond_its_edges() -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, 3 * SAMPLE_RATE).astype(np.float32)
    start = 70 * FRAME_SAMPLES - SAMPLE_RATE // 4
    assert np.array_equal(cut_clip(samples, 70, 0.5), samples[start : start + SAMPLE_RATE // 2])
    samples = np.full(4800, 0.5, dtype=np.float32)
    clip = cut_clip(samples, 5, 1.0)
    assert np.flatnonzero(clip).tolist() == list(range(8000 - 1600, 8000 + 3200))
    assert not cut_clip(samples, 500, 1.0).any()


def test_flac_holds_the_clip_at_full_level() -> None:
    wave = (0.1 * np.sin(np.arange(SAMPLE_RATE) / 10)).astype(np.float32)
    decoded, rate = sf.read(io.BytesIO(flac(wave)), dtype="float32")
    assert rate == SAMPLE_RATE
    assert np.abs(decoded - 9.5 * wave).max() < 1e-3
    assert flac(wave) == flac(wave)
    assert not sf.read(io.BytesIO(flac(np.zeros(100, dtype=np.float32))))[0].any()


def test_a_spectrogram_has_time_to_the_right_and_high_frequencies_on_top() -> None:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    low = spectrogram((np.sin(2 * np.pi * 200 * time)).astype(np.float32))
    high = spectrogram((np.sin(2 * np.pi * 6000 * time)).astype(np.float32))
    assert low.shape == (64, 100)
    assert low.mean(axis=1).argmin() > 50
    assert high.mean(axis=1).argmin() < 10
    click = np.zeros(SAMPLE_RATE, dtype=np.float32)
    click[SAMPLE_RATE // 2] = 0.5
    assert abs(int(spectrogram(click).mean(axis=0).argmin()) - 50) <= 1
    assert set(spectrogram(np.zeros(SAMPLE_RATE, dtype=np.float32)).ravel()) == {255}


def test_strips_stand_below_each_other() -> None:
    pictures = [np.full((4, 6), value, dtype=np.uint8) for value in (10, 200)]
    with Image.open(io.BytesIO(strip_png(pictures))) as strip:
        assert strip.size == (6, 8)
        assert np.array_equal(np.asarray(strip), np.concatenate(pictures))
