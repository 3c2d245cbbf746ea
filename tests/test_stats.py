import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from phonoscope.stats import (
    draw_resamples,
    evenly_spaced,
    interval,
    mean_interval,
    permute_labels,
    perplexity,
    ratio_interval,
    weighted_pca,
)


@given(st.integers(0, 300), st.integers(0, 60))
def test_evenly_spaced_indices(size: int, count: int) -> None:
    for rule in ("nearest", "floor", "parts"):
        chosen = evenly_spaced(size, count, rule)
        assert len(chosen) == min(size, count)
        gaps = np.diff(chosen)
        assert (gaps > 0).all()
        if len(gaps):
            assert gaps.max() - gaps.min() <= 1
            assert chosen[0] == 0
            assert chosen[-1] == size - 1 if rule != "parts" else chosen[-1] < size


def test_rules_differ_in_rounding() -> None:
    assert evenly_spaced(10, 4).tolist() == [0, 3, 6, 9]
    assert evenly_spaced(9, 4).tolist() == [0, 3, 5, 8]
    assert evenly_spaced(9, 4, "floor").tolist() == [0, 2, 5, 8]
    assert evenly_spaced(9, 4, "parts").tolist() == [0, 2, 4, 6]


def test_weighted_pca_is_pca_of_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    rows, weights = rng.normal(size=(30, 5)) * [5, 3, 1, 0.5, 0.1], rng.integers(0, 4, 30)
    mean, axes = weighted_pca(rows, weights, 3)
    repeated = np.repeat(rows, weights, axis=0)
    np.testing.assert_allclose(mean, repeated.mean(axis=0))
    expected = np.linalg.svd(repeated - repeated.mean(axis=0), full_matrices=False)[2][:3].T
    np.testing.assert_allclose(np.abs(np.sum(axes * expected, axis=0)), 1)
    assert weighted_pca(rows, weights, 99)[1].shape == (5, 5)


def test_perplexity_counts_equally_frequent_codes() -> None:
    assert perplexity(np.array([[3, 3, 0, 0], [1, 1, 1, 1]])) == pytest.approx([2, 4])
    assert np.isnan(perplexity(np.zeros(3)))


def test_resamples_draw_every_unit_once_on_average() -> None:
    draws = draw_resamples(7, 4000, seed=1)
    assert (draws.sum(axis=1) == 7).all()
    np.testing.assert_allclose(draws.mean(axis=0), 1, atol=0.06)
    np.testing.assert_array_equal(draws, draw_resamples(7, 4000, seed=1))


def test_an_interval_leaves_out_draws_without_a_value() -> None:
    draws = np.array([*np.linspace(0, 1, 101), np.nan])
    assert interval(0.5, draws, 0.9) == pytest.approx((0.5, 0.05, 0.95))


def test_a_ratio_covers_the_truth_and_units_stay_whole() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, 200).astype(float)
    totals = rng.normal(2 * counts, 1)
    value, low, high = ratio_interval(totals, counts, samples=500, confidence=0.99, seed=0)
    assert value == pytest.approx(totals.sum() / counts.sum())
    assert low < 2 < high < low + 0.2
    for bad in ((totals[:1], counts[:1]), (totals, counts * 0)):
        with pytest.raises(ValueError, match="give no interval"):
            ratio_interval(*bad, samples=10, confidence=0.9, seed=0)


def test_a_resample_without_a_denominator_takes_the_value_of_the_whole() -> None:
    assert ratio_interval(np.array([4.0, 0, 0]), np.array([2.0, 0, 0]), samples=99, confidence=0.9, seed=0) == (2, 2, 2)


def test_the_interval_of_a_mean_is_one_over_units() -> None:
    units = np.repeat(np.arange(10), 50)
    values = units.astype(float)  # clips of one speaker all alike: a bootstrap over clips would be far narrower
    value, low, high = mean_interval(values, units, samples=400, confidence=0.95, seed=0) or (0, 0, 0)
    assert value == pytest.approx(4.5)
    assert high - low > 2
    assert mean_interval(values[:50], units[:50], samples=10, confidence=0.9, seed=0) is None


@given(st.lists(st.integers(1, 8), min_size=1, max_size=6), st.integers(0, 99))
def test_permuted_labels_come_whole_from_another_unit(lengths: list[int], seed: int) -> None:
    units = np.repeat(np.arange(len(lengths)), lengths)
    permuted = permute_labels(units, units, seed)
    donors = [set(permuted[units == unit].tolist()) for unit in range(len(lengths))]
    assert sorted(donor for each in donors for donor in each) == list(range(len(lengths)))
