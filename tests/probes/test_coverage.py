"""Do the intervals of the scores cover the truth as often as they say?"""

from __future__ import annotations

import numpy as np

from phonoscope.probes.scores import ClassStatistics
from phonoscope.stats import draw_resamples, interval


def test_bootstrap_intervals_of_accuracy_cover_the_truth_at_their_rate() -> None:
    """Utterances differ in how hard they are: their accuracy is Beta(3, 2), whose mean is 0.6."""
    hits, trials, utterances, frames = 0, 300, 60, 25
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        true = rng.integers(3, size=(utterances, frames))
        right = rng.random((utterances, frames)) < rng.beta(3, 2, size=(utterances, 1))
        rows = np.repeat(np.arange(utterances), frames)
        guesses = np.where(right, true, (true + 1) % 3)
        statistics = ClassStatistics.from_frames(rows, true.ravel(), guesses.ravel(), (utterances, 3))
        draws = statistics.scores(draw_resamples(utterances, 400, seed))["accuracy"]
        found = interval(float(statistics.scores()["accuracy"][0]), draws, 0.9)
        hits += found.low <= 0.6 <= found.high
    assert 0.85 <= hits / trials <= 0.94
