from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from phonoscope.report.twins import COLUMNS, Resampled, Twins, headline, pair_layers, twin_pairs, twin_table


class Means:
    """A score that is the mean over utterances."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self.values = values

    def scores(self, multiplicity: NDArray[np.float64] | None = None) -> dict[str, NDArray[np.float64]]:
        counts = np.ones((1, len(self.values))) if multiplicity is None else multiplicity
        return {"macro_f1": counts @ self.values / counts.sum(axis=1)}


def test_pairs_are_found_by_name_in_the_codecs_order() -> None:
    assert twin_pairs(["x_undistilled", "y", "x"]) == [("x", "x_undistilled")]
    assert twin_pairs(["x", "y_undistilled"]) == []


def test_ratio_is_of_means_over_the_same_resampled_utterances() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.uniform(0.5, 1, 30), rng.uniform(0.2, 0.6, 30)
    picks = rng.integers(30, size=(200, 30))
    resamples = np.stack([np.bincount(row, minlength=30) for row in picks]).astype(float)
    table = twin_table(pair_layers("x", "phone", [Means(first)], [Means(second), Means(second)], resamples), 0.9)
    ratios = [first[row].mean() / second[row].mean() for row in picks]
    differences = [first[row].mean() - second[row].mean() for row in picks]
    assert table.columns.tolist() == list(COLUMNS)
    assert len(table) == 1
    row = table.iloc[0]
    assert row["ratio"] == pytest.approx(first.mean() / second.mean())
    assert [row["ratio_low"], row["ratio_high"]] == pytest.approx(np.quantile(ratios, [0.05, 0.95]))
    assert [row["difference_low"], row["difference_high"]] == pytest.approx(np.quantile(differences, [0.05, 0.95]))
    assert row["p_over_1_1"] == np.mean(np.array(ratios) > 1.1)


def test_no_ratio_of_r2_nor_over_zero() -> None:
    draws = np.linspace(-1, 1, 11)
    pairs = [
        Twins("x", "pitch", "r2", 1, Resampled(0.5, draws), Resampled(0.2, draws)),
        Twins("x", "phone", "macro_f1", 1, Resampled(0.5, draws), Resampled(0.0, 0 * draws)),
    ]
    table = twin_table(pairs, 0.95)
    assert table["ratio"].isna().all()
    assert table["difference"].tolist() == pytest.approx([0.3, 0.5])
    assert headline(table) == {}


def test_resamples_without_a_score_are_left_out() -> None:
    draws = np.array([0.4, 0.4, 0.4, np.nan])
    pair = Twins("x", "phone", "macro_f1", 1, Resampled(0.4, draws), Resampled(0.2, np.array([0.2, 0.2, 0.0, 0.2])))
    row = twin_table([pair], 0.95).iloc[0]
    assert (row["ratio_low"], row["ratio_high"], row["p_over_1_1"]) == (2, 2, 1)
    assert headline(twin_table([pair], 0.95)) == {
        "x_phone_ratio": 2,
        "x_phone_ratio_low": 2,
        "x_phone_ratio_high": 2,
        "x_phone_ratio_p_over_1_1": 1,
    }
