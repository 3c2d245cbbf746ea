from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.whisper.model import frame_count
from phonoscope.whisper.utterances import GAP_FRAMES, batches, plan_windows, speech_mask, window_audio

LENGTHS = st.lists(st.integers(1, 40 * 16_000), min_size=1, max_size=12)


@given(LENGTHS, st.booleans(), st.sampled_from([1.0, 10.0, 30.0]), st.randoms(use_true_random=False))
def test_every_frame_of_every_utterance_stands_in_one_window(
    lengths: list[int], pack: bool, context_s: float, random: Random
) -> None:
    groups = [random.choice("ab") for _ in lengths]
    windows = plan_windows(lengths, groups, pack=pack, context_s=context_s)
    seen: dict[int, list[int]] = {}
    for window in windows:
        assert len({groups[piece.utterance] for piece in window.pieces}) == 1
        assert window.pieces[-1].first + window.pieces[-1].frames <= window.positions <= 1500
        for before, after in zip(window.pieces, window.pieces[1:], strict=False):
            assert after.first == before.first + before.frames + GAP_FRAMES
        for piece in window.pieces:
            seen.setdefault(piece.utterance, []).extend(range(piece.skip, piece.skip + piece.frames))
            assert piece.whole == (piece.frames == frame_count(lengths[piece.utterance]))
    assert {number: sorted(frames) for number, frames in seen.items()} == {
        number: list(range(frame_count(samples))) for number, samples in enumerate(lengths)
    }
    assert pack or all(len(window.pieces) == 1 for window in windows)


def test_a_window_is_as_long_as_asked_unless_the_utterance_does_not_fit() -> None:
    windows = plan_windows([16_000, 10 * 16_000, 10 * 16_000 + 1, 31 * 16_000], ["a"] * 4, context_s=10.0)
    assert [window.positions for window in windows] == [500, 500, 1500, 1500, 1500]


@given(LENGTHS, st.booleans())
def test_audio_stands_where_the_mask_says(lengths: list[int], pack: bool) -> None:
    windows = plan_windows(lengths, ["a"] * len(lengths), pack=pack, context_s=5.0)
    for batch in batches(windows, seconds=60.0):
        assert len({window.positions for window in batch}) == 1
        mask = speech_mask(batch).numpy()
        for window, row in zip(batch, mask, strict=True):
            audio = window_audio(window, lambda number: np.full(lengths[number], number + 1, np.float32))
            padded = np.zeros(window.positions * 320, np.float32)
            padded[: len(audio)] = audio
            frames = padded.reshape(-1, 320)
            assert np.array_equal(frames[:, 0] > 0, row)
            for piece in window.pieces:
                own = frames[piece.first : piece.first + piece.frames]
                assert (own[:, 0] == piece.utterance + 1).all()


@pytest.mark.parametrize(("seconds", "sizes"), [(20.0, [2, 2, 1]), (10.0, [1] * 5), (0.1, [1] * 5), (99.0, [5])])
def test_batches_hold_at_most_so_many_seconds(seconds: float, sizes: list[int]) -> None:
    windows = plan_windows([16_000] * 5, ["a"] * 5, context_s=10.0)
    assert [len(batch) for batch in batches(windows, seconds)] == sizes
