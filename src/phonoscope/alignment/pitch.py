"""Fundamental frequency with a real voicing decision."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from phonoscope.audio import resample
from phonoscope.config.alignment import AlignmentConfig
from phonoscope.data.labels import HOP_S, Track

ANALYSIS_RATE_HZ = 16_000
_HOP = 160
_PERIODS = 3  # of the lowest F0 in a window, Praat's choice
_OCTAVE_JUMP_COST = 0.6  # Praat's 0.35 makes more octave errors, on synthetic and on recorded speech


def f0_track(samples: NDArray[np.float32], sample_rate: int, config: AlignmentConfig) -> Track:
    """Track F0 with Praat's autocorrelation method, every 10 ms, on audio resampled to 16 kHz.

    Boersma, Proc. Institute of Phonetic Sciences 17, 1993. Frames that are more than `f0_floor_db` weaker than the
    utterance's loudest are hardly ever voiced (Praat's silence threshold). Returns: times in seconds, shape [frames],
    float64, exact; and F0 in Hz, shape [frames], float32, NaN where unvoiced. frames = 1 + floor(duration / 0.01 s).
    """
    import parselmouth

    audio = resample(samples, sample_rate, ANALYSIS_RATE_HZ)
    frames = 1 + len(audio) // _HOP
    # Praat centres its frames in the sound; with this margin of silence, frame k is centred at k * 0.01 s
    margin = int(np.ceil(_PERIODS * ANALYSIS_RATE_HZ / config.f0_min_hz / 2)) + 1
    padded = np.zeros(2 * margin + (frames - 1) * _HOP)
    kept = audio[: len(padded) - margin]
    padded[margin : margin + len(kept)] = kept
    pitch = parselmouth.Sound(padded, ANALYSIS_RATE_HZ).to_pitch_ac(
        time_step=HOP_S,
        pitch_floor=config.f0_min_hz,
        pitch_ceiling=config.f0_max_hz,
        silence_threshold=10 ** (-config.f0_floor_db / 20),
        octave_jump_cost=_OCTAVE_JUMP_COST,
    )
    f0_hz = pitch.selected_array["frequency"].astype(np.float32)
    # divided by the integer 100: multiples of 0.01 would collect rounding, and readers index this grid
    times_s = np.arange(frames) / round(1 / HOP_S)
    return times_s, np.where(f0_hz > 0, f0_hz, np.nan).astype(np.float32)
