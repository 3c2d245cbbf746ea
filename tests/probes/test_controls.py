from __future__ import annotations

import numpy as np
import pytest

from phonoscope.config.probes import DepthConfig
from phonoscope.probes.controls import lookup_classes, lookup_values, permute_rows, smoothed_lookup_classes
from phonoscope.probes.examples import Examples, Fold
from phonoscope.probes.inputs import TableInput
from phonoscope.probes.measures import Probing
from phonoscope.probes.tables import ClassTable, ValueTable

TABLE = ClassTable(("b", "c", "m"), np.array([[10, 0, 90], [1, 9, 40], [0, 0, 0], [30, 2, 0], [9, 0, 600]]))


def test_readouts_are_the_most_frequent_class_and_follow_the_class_weights() -> None:
    np.testing.assert_array_equal(lookup_classes(TABLE), [2, 2, 2, 0, 2])  # code 2 is unseen: the majority
    # P(code | class): code 0 holds 10 of 50 b and 90 of 730 m; code 1 holds 9 of 11 c and 40 of 730 m
    np.testing.assert_array_equal(smoothed_lookup_classes(TABLE, "balanced"), [0, 1, 2, 0, 2])
    np.testing.assert_array_equal(smoothed_lookup_classes(TABLE, "none"), [2, 2, 2, 0, 2])


def test_a_single_frame_of_a_rare_class_does_not_win_a_code() -> None:
    """Labels independent of the code: the read-out must not chase the noise of rare classes."""
    rng = np.random.default_rng(0)
    shares = np.array([0.6, 0.3, 0.08, 0.02])
    train, evaluation = (rng.multinomial(8, shares, size=1000) for _ in range(2))
    table = ClassTable(("a", "b", "c", "d"), train)
    raw = (train / train.sum(axis=0)).argmax(axis=1)
    smoothed = smoothed_lookup_classes(table, "none")
    hits = [evaluation[np.arange(1000), chosen].sum() for chosen in (raw, smoothed)]
    assert hits[1] > 1.2 * hits[0]
    assert hits[1] == pytest.approx(evaluation[:, 0].sum(), rel=0.01)


def test_readout_of_values() -> None:
    table = ValueTable(np.array([2, 0, 1]), np.array([220.0, 0.0, 200.0]), np.array([24_400.0, 0.0, 40_000.0]))
    np.testing.assert_allclose(lookup_values(table), [110, 140, 200])


def test_permutation_keeps_the_rows_of_the_used_codes_together() -> None:
    codebook = np.arange(40.0).reshape(20, 2)
    used = np.arange(20) % 3 > 0
    permuted = permute_rows(codebook, used, seed=1)
    np.testing.assert_array_equal(permuted[~used], codebook[~used])
    np.testing.assert_array_equal(np.sort(permuted[used], axis=0), codebook[used])
    assert (permuted[used] != codebook[used]).any()
    np.testing.assert_array_equal(permuted, permute_rows(codebook, used, seed=1))
    assert (permuted != permute_rows(codebook, used, seed=2)).any()


def test_a_collapsed_layer_has_no_control_task() -> None:
    """All codes of training have one random class there, which no probe can be fitted to."""
    count = 40
    labels = np.tile([0, 1], count // 2)
    fold = Fold(np.arange(4) < 3, np.arange(4) == 3)
    examples = Examples(labels, ("a", "b"), np.repeat(np.arange(4), 10), np.arange(4), [fold])
    probing = Probing(examples, TableInput(np.zeros(count, np.int64), np.eye(4)), DepthConfig(), 0, 0)
    assert {measure.measure for measure in probing.measures("linear")} == {"accuracy", "macro_f1"}
