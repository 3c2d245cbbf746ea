import numpy as np
import pytest

from phonoscope.corpus.piper import synthesize
from phonoscope.errors import DataError


def test_same_audio_whatever_was_spoken_before() -> None:
    first, rate = synthesize("nine")
    synthesize("Some other words.")
    again, _ = synthesize("nine")
    np.testing.assert_array_equal(first, again)
    assert rate == 22_050
    assert first.dtype == np.float32
    assert np.abs(first).max() == pytest.approx(0.7)


def test_rate_scales_the_duration_and_nothing_to_say_is_an_error() -> None:
    slow, fast = (len(synthesize("seven days", rate_wpm=rate)[0]) for rate in (120, 240))
    assert slow > 1.5 * fast
    with pytest.raises(DataError, match="says nothing"):
        synthesize("  ")
