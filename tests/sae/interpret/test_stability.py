"""Agreement of two trainings, against NumPy and for copies of one training."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from phonoscope.sae.interpret.stability import decoder_matches, stability, twins


def activations(seed: int, frames: int = 300, features: int = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((frames, features)) * (rng.random((frames, features)) < 0.3)


def test_matches_are_the_highest_cosines() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(7, 5)), rng.normal(size=(9, 5))
    expected = [max(one @ other / np.linalg.norm(one) / np.linalg.norm(other) for other in second) for one in first]
    assert decoder_matches(first, second) == pytest.approx(expected)


def test_twins_are_the_highest_correlations_and_a_silent_feature_has_none() -> None:
    first, second = activations(0), activations(1)
    first[:, 3] = second[:, 5] = 0
    found = twins(sp.csr_array(first), sp.csr_array(second))
    live = [feature for feature in range(8) if feature != 5]
    for feature in (0, 1, 7):
        expected = max(np.corrcoef(first[:, feature], second[:, other])[0, 1] for other in live)
        assert found[feature] == pytest.approx(expected)
    assert found[3] == 0


def test_the_same_features_in_another_order_agree_and_others_do_not() -> None:
    rng = np.random.default_rng(0)
    order, rows, fired = rng.permutation(8), rng.normal(size=(8, 60)), activations(0)
    same = stability((rows, rows[order]), (sp.csr_array(fired), sp.csr_array(fired[:, order])), np.array([1, 4]))
    assert same == {"rows_07": 1.0, "rows_09": 1.0, "detectors_07": 1.0}
    other = rng.normal(size=(8, 60))
    apart = stability((rows, other), (sp.csr_array(fired), sp.csr_array(activations(1))), np.array([1, 4]))
    assert apart == {"rows_07": 0.0, "rows_09": 0.0, "detectors_07": 0.0}
    other[0], dead = rows[2], fired.copy()
    dead[:, 4:] = 0  # features that never fire have no say
    part = stability((rows, other), (sp.csr_array(dead), sp.csr_array(fired)), np.array([1, 1]))
    assert part == {"rows_07": 0.25, "rows_09": 0.25, "detectors_07": 1.0}
