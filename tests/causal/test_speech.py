from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.causal.speech import add_noise, babble
from phonoscope.errors import DataError

from ..whisper.checkout import noise


@given(st.floats(-20, 60), st.integers(2, 5000), st.floats(1e-3, 1))
def test_the_ratio_of_energies_is_the_one_asked_for(snr_db: float, samples: int, level: float) -> None:
    speech = level * noise(samples, 3)
    noisy = add_noise(speech, noise(samples), snr_db)
    disturbance = noisy.astype(np.float64) - speech
    ratio = np.sum(speech.astype(np.float64) ** 2) / np.sum(disturbance**2)
    assert 10 * np.log10(ratio) == pytest.approx(snr_db, abs=0.1)
    assert not add_noise(0 * speech, noise(samples), snr_db).any()


def test_babble_repeats_short_voices_and_weighs_loud_ones_alike() -> None:
    rng = np.random.default_rng(0)
    loud, quiet = 50 * noise(700, 1), noise(300, 2)
    mixed = babble([loud, quiet], 2100, rng)
    assert mixed.shape == (2100,)
    assert np.mean(np.square(mixed)) == pytest.approx(2, rel=0.2)
    quiet_alone = babble([quiet], 900, rng)
    np.testing.assert_array_equal(quiet_alone[:300], quiet_alone[300:600])
    with pytest.raises(DataError, match="use white noise"):
        babble([], 100, rng)
