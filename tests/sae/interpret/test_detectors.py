from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from phonoscope.errors import DataError
from phonoscope.sae.interpret import phone_detectors
from phonoscope.sae.interpret.detectors import auroc_interval, left_out_areas

from .planted import DETECTORS, plant


def test_planted_detectors_are_found_with_their_intervals() -> None:
    planted = plant(speakers=8, utterances=6)
    arrays = planted.activations.toarray(), planted.phone, planted.index["utterance"].to_numpy()
    table = phone_detectors(*arrays)
    detectors = dict(zip(table["phone"], table["feature"], strict=True))
    assert detectors == DETECTORS
    assert (table["auroc"] == 1.0).all()
    # no error in the 24 utterances of eval: the bound of Clopper and Pearson
    assert table["low"].tolist() == pytest.approx([binomtest(24, 24).proportion_ci().low] * 3)
    assert (table["high"] == 1.0).all()
    assert (table["segments"] == 24).all()
    sparse: Any = planted.activations
    assert phone_detectors(sparse, *arrays[1:]).equals(table)
    given = (planted.index["split"] == "train").to_numpy()
    assert (phone_detectors(*arrays, train=given, min_segments=5)["segments"] == 8).all()


@pytest.mark.parametrize("seed", range(3))
def test_areas_without_each_group_are_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, positive = rng.integers(6, size=200), rng.random(200) < 0.3
    scores = np.where(rng.random(200) < 0.5, 0.0, (positive + rng.normal(0, 1.5, 200)).round(1))  # many ties
    expected = [roc_auc_score(positive[groups != group], scores[groups != group]) for group in range(6)]
    assert left_out_areas(scores, positive, groups) == pytest.approx(expected)
    groups[positive] = 0
    assert np.isnan(left_out_areas(scores, positive, groups)[0])


def test_the_interval_covers_an_area_near_one_and_does_not_leave_its_range() -> None:
    """60 utterances of 12 segments, 3 % of them positive, scores that are alike within an utterance."""
    rng = np.random.default_rng(0)
    units, shift = np.repeat(np.arange(60), 12), 2.5
    true = norm.cdf(shift / np.sqrt(2))
    covered = []
    for _ in range(300):
        positive = rng.random(720) < 0.03
        scores = np.sqrt(0.2) * rng.normal(size=60)[units] + np.sqrt(0.8) * rng.normal(size=720) + shift * positive
        estimate = auroc_interval(scores, positive, units, roc_auc_score(positive, scores), 0.95)
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        covered.append(estimate.low <= true <= estimate.high)
    assert 0.92 < np.mean(covered) < 0.985


def test_arrays_that_cannot_be_split_are_refused() -> None:
    with pytest.raises(DataError, match="3 frames, but 2 phones and 3 utterances"):
        phone_detectors(np.ones((3, 2)), ["S", "T"], ["a", "a", "b"])
    with pytest.raises(DataError, match="at least two"):
        phone_detectors(np.ones((3, 2)), ["S", "T", "S"], ["a", "a", "a"])
