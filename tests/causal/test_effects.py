from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from phonoscope.causal.effects import ratio


def test_the_value_is_the_ratio_of_sums() -> None:
    totals, counts = np.array([1.0, -2.0, 4.0]), np.array([1.0, 3.0, 2.0])
    assert ratio(totals, counts, samples=50, confidence=0.9, seed=0).value == pytest.approx(0.5)


def test_the_interval_is_that_of_the_mean_where_counts_are_equal() -> None:
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = ratio(values, np.ones(400), samples=4000, confidence=0.95, seed=1)
    low, high = stats.norm.interval(0.95, values.mean(), values.std(ddof=1) / 20)
    assert found.low == pytest.approx(low, abs=0.03)
    assert found.high == pytest.approx(high, abs=0.03)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """Words of an utterance share their effect, so utterances are the units: words as units would cover far less."""
    rng, covered = np.random.default_rng(1), 0
    for trial in range(150):
        counts = rng.integers(1, 8, 40).astype(float)
        totals = counts * rng.normal(-1, 1, 40)
        found = ratio(totals, counts, samples=300, confidence=0.9, seed=trial)
        covered += found.low <= -1 <= found.high
    assert 0.8 <= covered / 150 <= 0.97


def test_no_spread_gives_no_width_and_equal_seeds_equal_intervals() -> None:
    counts = np.array([1.0, 2.0, 5.0])
    assert ratio(2 * counts, counts, samples=100, confidence=0.95, seed=0) == pytest.approx((2, 2, 2))
    values = np.array([1.0, 5.0, -2.0, 0.0])
    one, other = (ratio(values, np.ones(4), samples=100, confidence=0.95, seed=7) for _ in range(2))
    assert one == other


@pytest.mark.parametrize(("totals", "counts"), [([1.0], [1.0]), ([1.0, 2.0], [0.0, 0.0])])
def test_what_has_no_interval_is_refused(totals: list[float], counts: list[float]) -> None:
    with pytest.raises(ValueError, match="give no interval"):
        ratio(np.array(totals), np.array(counts), samples=10, confidence=0.9, seed=0)


def test_a_resample_without_any_count_does_not_break_the_interval() -> None:
    found = ratio(np.array([0.0, 0.0, 3.0]), np.array([0.0, 0.0, 1.0]), samples=200, confidence=0.95, seed=0)
    assert found == (3, 3, 3)
