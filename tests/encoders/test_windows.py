from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.encoders.windows import Clip, cut_windows, log_mel, standardise, window_bounds
from phonoscope.errors import DataError


@given(st.integers(0, 2000), st.sampled_from([50.0, 75.0, 100.0, 86.1328125]), st.sampled_from([1.5, 2.0, 0.8]))
def test_every_frame_is_in_exactly_the_window_that_holds_its_start(frames: int, rate_hz: float, tr_s: float) -> None:
    bounds = window_bounds(frames, rate_hz, tr_s)
    assert [stop - start for start, stop in window_bounds(450, 75.0, 1.5)] == [113, 112, 113, 112]
    owner = [index for index, (start, stop) in enumerate(bounds) for _ in range(start, stop)]
    assert owner == [int(Fraction(frame) / Fraction(str(rate_hz)) // Fraction(str(tr_s))) for frame in range(frames)]


def clips() -> list[Clip]:
    frames = np.arange(2 * 240, dtype=np.int16).reshape(2, 240)
    return [
        Clip("a", frames[:, :60], "one", "yes"),
        Clip("b", frames[:, :120], "two", "no"),
        Clip("c", frames, "one", ""),
    ]


def test_windows_hold_frames_labels_and_zeros_after_them() -> None:
    windows = cut_windows(clips(), 75.0, 1.5)
    assert windows.utterances == ["a", "b", "b", "c"]  # both windows of a word, the first of a sentence
    assert windows.lengths.tolist() == [60, 113, 7, 113]
    assert windows.labels["word"].tolist() == [1, 0, 0, -1]
    assert windows.labels["speaker"].tolist() == [0, 1, 1, 0]
    assert windows.classes == {"word": ["no", "yes"], "speaker": ["one", "two"]}
    assert np.array_equal(windows.x[0, :, :60], clips()[0].frames)
    assert not windows.x[0, :, 60:].any()


def test_subsets_keep_rows_together_and_fewer_than_two_words_are_refused() -> None:
    windows = cut_windows(clips(), 75.0, 1.5, sentence_windows=9).subset(["b", "c"])
    assert windows.utterances == ["b", "b", "c", "c", "c"]
    assert windows.labels["word"].tolist() == [0, 0, -1, -1, -1]
    with pytest.raises(DataError, match="fewer than two isolated words"):
        cut_windows(clips()[1:], 75.0, 1.5)


def test_mel_frames_stand_at_their_times_and_bins() -> None:
    samples = np.zeros(16_000, np.float32)
    time_s = np.arange(800) / 16_000
    samples[8000:8800] = np.sin(2 * np.pi * 1000 * time_s)
    mel = log_mel(samples, 80)
    assert mel.shape == (80, 101)
    assert 50 <= mel.max(axis=0).argmax() <= 55  # 0.5 to 0.55 s
    assert mel.max(axis=1).argmax() == pytest.approx(80 * 1000 / 2840, abs=2)  # 2,840 mel are 8 kHz; 1,000 mel 1 kHz


def test_standardised_frames_have_mean_0_and_deviation_1_and_padding_stays_0() -> None:
    rng = np.random.default_rng(0)
    made = [Clip(str(i), rng.normal(5, 3, (4, 20 + i)).astype(np.float32), "s", "ab"[i % 2]) for i in range(8)]
    windows = cut_windows(made, 50.0, 1.5)
    scaled = standardise(windows, windows)
    inside = np.arange(scaled.x.shape[2]) < scaled.lengths[:, None]
    frames = scaled.x.transpose(0, 2, 1)[inside]
    np.testing.assert_allclose(frames.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(frames.std(axis=0), 1, atol=1e-5)
    assert not scaled.x.transpose(0, 2, 1)[~inside].any()
