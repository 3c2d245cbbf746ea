import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from phonoscope.stats import (
    Interval,
    Scale,
    crossed_interval,
    discriminant_axes,
    evenly_spaced,
    hedges_g,
    jackknife,
    leading_axes,
    mean_interval,
    permute_labels,
    permute_segments,
    perplexity,
    positive_axes,
    ratio_interval,
    weighted_pca,
)

Floats = NDArray[np.float64]


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


def covered(truth: float, estimate: Callable[[np.random.Generator], Interval], runs: int = 400) -> float:
    """Share of made-up samples whose interval holds the truth."""
    rng = np.random.default_rng(0)
    intervals = [estimate(rng) for _ in range(runs)]
    return float(np.mean([low <= truth <= high for _, low, high in intervals]))


def without_each(values: Floats, score: Callable[[Floats], float]) -> Floats:
    return np.array([score(np.delete(values, unit, axis=0)) for unit in range(len(values))])


def test_leading_axes_are_the_first_right_singular_vectors() -> None:
    rows = np.random.default_rng(0).normal(size=(20, 4)) * [1, 4, 2, 8]
    expected = np.linalg.svd(rows)[2][:2].T
    np.testing.assert_allclose(np.abs(leading_axes(rows.T @ rows, 2).T @ expected), np.eye(2), atol=1e-12)


def test_positive_axes_span_what_the_rows_span() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 7))
    values, axes = positive_axes(rows.T @ rows)
    np.testing.assert_allclose(np.sort(values)[::-1], np.linalg.svd(rows)[1][:3] ** 2)
    np.testing.assert_allclose(rows @ axes @ axes.T, rows, atol=1e-9)
    assert positive_axes(np.zeros((4, 4)))[1].shape == (4, 0)


@pytest.mark.parametrize("rank", [2, 4])
def test_discriminant_axes_are_those_of_scikit_learn(rank: int) -> None:
    """Also where rows fill a part of the space only, here two of six dimensions repeat others."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(range(5), [20, 30, 40, 50, 60]))
    rows = rng.normal(size=(5, 4))[labels] + rng.normal(size=(200, 4)) @ rng.normal(size=(4, 4))
    wide = np.column_stack([rows, rows[:, :2]])
    centred = wide - wide.mean(axis=0)
    centres = np.array([centred[labels == label].mean(axis=0) for label in range(5)])
    axes = discriminant_axes(centred.T @ centred, centres, np.bincount(labels).astype(float), rank)
    assert axes.shape == (6, rank)
    learned = LinearDiscriminantAnalysis(n_components=rank).fit(rows, labels).transform(rows)
    correlations = np.corrcoef((centred @ axes).T, learned.T)[:rank, rank:]
    np.testing.assert_allclose(np.abs(correlations.diagonal()), 1, atol=1e-9)


def test_classes_have_one_discriminant_fewer_than_there_are() -> None:
    assert discriminant_axes(np.eye(6), np.array([[1.0, *[0] * 5], [-1.0, *[0] * 5]]), np.ones(2), 4).shape == (6, 1)


def test_the_jackknife_of_a_mean_is_students_interval() -> None:
    """The scores are so even that no degree of freedom is lost."""
    values = np.arange(30.0)
    interval = jackknife(values.mean(), without_each(values, lambda rest: float(rest.mean())), 0.9)
    assert interval == pytest.approx((14.5, *stats.ttest_1samp(values, 0).confidence_interval(0.9)))


def test_a_unit_that_decides_all_leaves_one_degree_of_freedom() -> None:
    values = np.array([100.0, *[0.0] * 9])
    interval = jackknife(values.mean(), without_each(values, lambda rest: float(rest.mean())), 0.95)
    error = values.std(ddof=1) / np.sqrt(10)
    squares = (values - values.mean()) ** 2
    freedom = 20 / (10 * (squares**2).sum() / squares.sum() ** 2 - 1)
    assert interval.high == pytest.approx(10 + stats.t.ppf(0.975, freedom) * error)
    assert freedom < 3


@pytest.mark.parametrize(("scale", "truth"), [("linear", 1.0), ("log", 1.0)])
def test_a_jackknife_of_a_variance_covers_it(scale: Scale, truth: float) -> None:
    def estimate(rng: np.random.Generator) -> Interval:
        values = rng.normal(size=30)
        return jackknife(values.var(ddof=1), without_each(values, lambda rest: float(rest.var(ddof=1))), 0.95, scale)

    assert 0.9 <= covered(truth, estimate) <= 0.99


def test_a_scale_keeps_the_interval_in_its_range() -> None:
    left_out = np.array([0.6, 0.9, 0.99, 0.7])
    assert jackknife(0.8, left_out, 0.99).high > 1
    assert 0.8 < jackknife(0.8, left_out, 0.99, "unexplained").high < 1
    assert jackknife(0.8, left_out, 0.99).low < 0
    assert 0 < jackknife(0.8, left_out, 0.99, "log").low < 0.8


@pytest.mark.parametrize(
    ("value", "left_out"), [(1.0, [2.0]), (1.0, [2.0, np.nan]), (1.0, []), (np.nan, [1.0, 2.0]), (np.inf, [1.0, 2.0])]
)
def test_too_little_to_jackknife_gives_an_unbounded_interval(value: float, left_out: list[float]) -> None:
    assert jackknife(value, np.array(left_out), 0.95)[1:] == (-np.inf, np.inf)


def test_values_that_are_not_finite_are_left_out_of_the_jackknife() -> None:
    left_out = np.array([1.0, 2.0, 4.0])
    assert jackknife(2.0, np.r_[left_out, np.nan, np.inf], 0.9) == jackknife(2.0, left_out, 0.9)
    assert jackknife(2.0, np.array([2.0, 2.0]), 0.9) == (2, 2, 2)


def test_the_interval_of_a_ratio_is_the_jackknife_over_units() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(1, 9, 20).astype(float)
    totals = rng.normal(2 * counts, 1)
    pairs = np.column_stack([totals, counts])
    left_out = without_each(pairs, lambda rest: rest[:, 0].sum() / rest[:, 1].sum())
    expected = jackknife(totals.sum() / counts.sum(), left_out, 0.95)
    assert ratio_interval(totals, counts, confidence=0.95) == pytest.approx(expected)
    # units without a count tell nothing
    assert ratio_interval(np.r_[totals, 0, 0], np.r_[counts, 0, 0], confidence=0.95) == pytest.approx(expected)
    for bad in ((totals[:1], counts[:1]), (totals, counts * 0)):
        with pytest.raises(ValueError, match="give no interval"):
            ratio_interval(*bad, confidence=0.9)


def test_the_interval_of_a_ratio_covers_it() -> None:
    def estimate(rng: np.random.Generator) -> Interval:
        counts = rng.integers(1, 20, 14).astype(float)
        return ratio_interval(rng.binomial(counts.astype(int), 0.7).astype(float), counts, confidence=0.95)

    assert 0.91 <= covered(0.7, estimate) <= 0.98


def test_the_interval_of_a_mean_is_one_over_units() -> None:
    speakers = np.arange(10.0)
    units = np.repeat(speakers, 50)  # clips of one speaker all alike: as much as one clip of each tells
    interval = mean_interval(units, units, confidence=0.95)
    assert interval == pytest.approx((4.5, *stats.ttest_1samp(speakers, 0).confidence_interval(0.95)))
    assert mean_interval(units[:50], units[:50], confidence=0.9) is None


def test_a_crossed_interval_covers_the_mean_over_new_trainings_and_new_units() -> None:
    """Three trainings, thirty utterances of unequal length, each with an effect of its own."""
    counts = np.random.default_rng(1).integers(1, 6, 30).astype(float)

    def estimate(rng: np.random.Generator) -> Interval:
        scores = rng.normal(0, 0.2, (3, 1)) + rng.normal(0, 0.5, 30) + rng.normal(0, 0.2, (3, 30))
        return crossed_interval(counts * scores, counts, confidence=0.95)

    assert 0.93 <= covered(0.0, estimate) <= 1


def test_a_crossed_interval_adds_the_squares_of_the_two_half_widths() -> None:
    rng = np.random.default_rng(0)
    scores, counts = rng.normal(size=(3, 8)), np.ones(8)
    trainings, units = (stats.ttest_1samp(scores.mean(axis=axis), 0).confidence_interval(0.9) for axis in (1, 0))
    reach = np.hypot(trainings.high - trainings.low, units.high - units.low) / 2
    mean = scores.mean()
    assert crossed_interval(scores, counts, confidence=0.9) == pytest.approx((mean, mean - reach, mean + reach))


def test_hedges_g_has_no_bias_and_its_interval_covers_the_truth() -> None:
    """Seven against seven, all samples at once; Cohen's d would be 7 % too large."""
    rng = np.random.default_rng(0)
    for truth in (0.0, 1.0, 3.0):
        first, second = truth + rng.normal(size=(4000, 7)), rng.normal(size=(4000, 7))
        g, low, high = hedges_g(first, second, 0.95)
        assert g.mean() == pytest.approx(truth, abs=0.04 + 0.01 * truth)
        assert np.mean((low <= truth) & (truth <= high)) == pytest.approx(0.95, abs=0.012)


def test_the_interval_of_hedges_g_inverts_the_noncentral_t() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.8, 1, 5), rng.normal(0, 1, 9)
    g, low, high = hedges_g(first, second, 0.9)
    result, root = stats.ttest_ind(first, second), np.sqrt(5 * 9 / 14)
    approximation = 1 - 3 / (4 * 12 - 1)  # of the correction, by Hedges himself
    assert float(g) == pytest.approx(result.statistic / root * approximation, rel=2e-3)
    assert stats.nct.cdf(result.statistic, 12, low * root) == pytest.approx(0.95, abs=1e-6)
    assert stats.nct.cdf(result.statistic, 12, high * root) == pytest.approx(0.05, abs=1e-6)


def test_values_that_do_not_vary_have_no_effect() -> None:
    same = np.full((2, 4), 0.1)
    same[1] = 7
    for part in hedges_g(same, same[:, :3], 0.95):
        np.testing.assert_array_equal(part, 0)


def segments(labels: NDArray[Any], units: NDArray[Any]) -> list[tuple[int, int]]:
    """Label and length of every run of one label within a unit."""
    runs = itertools.groupby(zip(labels.tolist(), units.tolist(), strict=True))
    return [(label, len(list(run))) for (label, _), run in runs]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=80), st.integers(0, 9))
def test_permuted_segments_keep_their_edges_and_their_labels_as_often(frames: list[int], seed: int) -> None:
    labels, units = np.array(frames), np.arange(len(frames)) // 10
    permuted = permute_segments(labels, units, seed)
    place, moved, drawn = 0, [], []
    for label, length in segments(labels, units):
        within = permuted[place : place + length]
        assert len(set(within.tolist())) == 1
        moved.append(label)
        drawn.append(int(within[0]))
        place += length
    assert sorted(drawn) == sorted(moved)


def test_segments_swap_with_others_of_like_length_in_all_orders() -> None:
    """Twenty short segments and twenty long ones: no label of a short one gets a long one."""
    labels = np.concatenate([np.arange(20), np.repeat(np.arange(100, 120), 5)])
    units = np.zeros(len(labels), dtype=int)
    places: list[set[int]] = [set() for _ in range(20)]
    for seed in range(200):
        permuted = permute_segments(labels, units, seed)
        assert set(permuted[:20].tolist()) == set(range(20))
        for place, label in enumerate(permuted[:20].tolist()):
            places[place].add(label)
    assert all(place == set(range(20)) for place in places)


@given(st.lists(st.integers(1, 8), min_size=1, max_size=6), st.integers(0, 99))
def test_permuted_labels_come_whole_from_another_unit(lengths: list[int], seed: int) -> None:
    units = np.repeat(np.arange(len(lengths)), lengths)
    permuted = permute_labels(units, units, seed)
    donors = [set(permuted[units == unit].tolist()) for unit in range(len(lengths))]
    assert sorted(donor for each in donors for donor in each) == list(range(len(lengths)))
