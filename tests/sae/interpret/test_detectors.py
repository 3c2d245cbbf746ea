from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from phonoscope.errors import DataError
from phonoscope.sae.interpret import phone_detectors
from phonoscope.sae.interpret.detectors import auroc_interval

from .planted import DETECTORS, plant


def test_planted_detectors_are_found_with_their_intervals() -> None:
    planted = plant(speakers=8, utterances=6)
    arrays = planted.activations.toarray(), planted.phone, planted.index["utterance"].to_numpy()
    table = phone_detectors(*arrays, samples=100)
    detectors = dict(zip(table["phone"], table["feature"], strict=True))
    assert detectors == DETECTORS
    assert (table["auroc"] == 1.0).all()
    assert (table[["low", "high"]] == 1.0).all(axis=None)
    assert (table["segments"] == 24).all()
    sparse: Any = planted.activations
    assert phone_detectors(sparse, *arrays[1:], samples=100).equals(table)
    given = (planted.index["split"] == "train").to_numpy()
    assert (phone_detectors(*arrays, train=given, min_segments=5, samples=100)["segments"] == 8).all()


def test_an_interval_is_the_percentiles_of_resampled_areas() -> None:
    rng = np.random.default_rng(0)
    units = np.repeat(np.arange(30), 20)
    positive = rng.random(600) < 0.3
    scores = np.where(rng.random(600) < 0.5, 0.0, (positive + rng.normal(0, 1.5, 600)).round(1))
    area = roc_auc_score(positive, scores)
    estimate = auroc_interval(scores, positive, units, area, samples=400, confidence=0.9, seed=0)
    areas = []
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(units == unit) for unit in rng.integers(30, size=30)])
        areas.append(roc_auc_score(positive[rows], scores[rows]))
    assert estimate.value == area
    assert [estimate.low, estimate.high] == pytest.approx(np.quantile(areas, [0.05, 0.95]), abs=0.015)


def test_arrays_that_cannot_be_split_are_refused() -> None:
    with pytest.raises(DataError, match="3 frames, but 2 phones and 3 utterances"):
        phone_detectors(np.ones((3, 2)), ["S", "T"], ["a", "a", "b"])
    with pytest.raises(DataError, match="at least two"):
        phone_detectors(np.ones((3, 2)), ["S", "T", "S"], ["a", "a", "a"])
