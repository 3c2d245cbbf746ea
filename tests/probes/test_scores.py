from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, mean_absolute_error, r2_score

from phonoscope.errors import DataError
from phonoscope.probes.scores import ClassStatistics, ValueStatistics, paired_difference, paired_ratio

CLASSES = 5
classified = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=60
)


def random_frames(seed: int, frames: int = 2_000, utterances: int = 30) -> tuple[NDArray[np.int64], ...]:
    rng = np.random.default_rng(seed)
    true = rng.choice(CLASSES, size=frames, p=[0.5, 0.3, 0.15, 0.04, 0.01])
    predicted = np.where(rng.random(frames) < 0.4, true, rng.integers(CLASSES, size=frames))
    return np.sort(rng.integers(utterances, size=frames)), true, predicted


@given(classified)
def test_class_scores_equal_scikit_learn(frames: list[tuple[int, int, int]]) -> None:
    utterance, true, predicted = np.array(frames).T
    scores = ClassStatistics.from_frames(utterance, true, predicted, (4, CLASSES)).scores()
    expected = f1_score(true, predicted, average="macro", zero_division=0)
    assert scores["macro_f1"] == pytest.approx(expected, abs=1e-12)
    assert scores["accuracy"] == pytest.approx(accuracy_score(true, predicted), abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(100, 104), st.integers(90, 110)), min_size=2, max_size=40))
def test_value_scores_equal_scikit_learn(frames: list[tuple[int, int, int]]) -> None:
    utterance, true, predicted = np.array(frames).T
    values = true.astype(np.float64), predicted.astype(np.float64)
    scores = ValueStatistics.from_frames(utterance, *values, 4, origin=102.0).scores()
    assert scores["r2"] == pytest.approx(r2_score(*values), abs=1e-9)
    assert scores["mae"] == pytest.approx(mean_absolute_error(*values), abs=1e-12)


def test_r2_keeps_its_digits_far_from_zero() -> None:
    rng = np.random.default_rng(0)
    true = 1e6 + rng.normal(size=5_000)
    predicted = true + rng.normal(scale=0.5, size=5_000)
    scores = ValueStatistics.from_frames(np.zeros(5_000, dtype=np.int64), true, predicted, 1, origin=1e6).scores()
    assert scores["r2"] == pytest.approx(r2_score(true, predicted), abs=1e-9)


def test_statistics_of_batches_add_up() -> None:
    utterance, true, predicted = random_frames(1)
    parts = [(utterance[s], true[s], predicted[s]) for s in (slice(700), slice(700, None), slice(None))]
    classes = [ClassStatistics.from_frames(*part, (30, CLASSES)) for part in parts]
    values = [ValueStatistics.from_frames(rows, t * 1.0, p * 1.0, 30, 1.0) for rows, t, p in parts]
    np.testing.assert_array_equal((classes[0] + classes[1]).correct, classes[2].correct)
    np.testing.assert_allclose((values[0] + values[1]).squared_error, values[2].squared_error)


def test_scores_without_an_utterance_are_those_of_the_other_frames() -> None:
    utterance, true, predicted = random_frames(2)
    utterance[utterance == 4] = 5  # an utterance without frames has no row
    classes = ClassStatistics.from_frames(utterance, true, predicted, (30, CLASSES)).without_each().row_scores()
    values = ValueStatistics.from_frames(utterance, true * 1.0, predicted * 1.0, 30, 1.0).without_each().row_scores()
    for row, out in enumerate(np.unique(utterance)):
        pair = true[utterance != out], predicted[utterance != out]
        expected = f1_score(*pair, average="macro", zero_division=0)
        assert classes["macro_f1"][row] == pytest.approx(expected, abs=1e-12)
        assert classes["accuracy"][row] == pytest.approx(accuracy_score(*pair), abs=1e-12)
        assert values["r2"][row] == pytest.approx(r2_score(*pair), abs=1e-9)
        assert values["mae"][row] == pytest.approx(mean_absolute_error(*pair), abs=1e-9)


def test_pairing_removes_what_the_utterances_share() -> None:
    rng = np.random.default_rng(8)
    difficulty = rng.uniform(10, 60, size=50)
    zeros = np.zeros(50)
    hard = ValueStatistics.from_frames(np.arange(50), difficulty, zeros, 50, 0.0)
    easier = ValueStatistics.from_frames(np.arange(50), difficulty * 0.8, zeros, 50, 0.0)
    ratio = paired_ratio(easier, hard, "mae", 0.95)
    assert tuple(ratio) == pytest.approx((0.8, 0.8, 0.8))
    gap = paired_difference(hard, easier, "mae", 0.95)
    assert gap.value == pytest.approx(0.2 * difficulty.mean())
    alone = hard.intervals(0.95)["mae"]
    assert gap.high - gap.low == pytest.approx(0.2 * (alone.high - alone.low), rel=1e-6)
    assert paired_difference(hard, hard, "mae", 0.95) == (0, 0, 0)
    fewer = ValueStatistics.from_frames(np.arange(20), difficulty[:20], zeros[:20], 20, 0.0)
    with pytest.raises(DataError, match="same utterances"):
        paired_ratio(fewer, hard, "mae", 0.95)


def test_intervals_of_accuracy_cover_the_truth_at_their_rate() -> None:
    """Utterances differ in how hard they are: their accuracy is Beta(3, 2), whose mean is 0.6."""
    hits, trials, utterances, frames = 0, 400, 60, 25
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        true = rng.integers(3, size=(utterances, frames))
        right = rng.random((utterances, frames)) < rng.beta(3, 2, size=(utterances, 1))
        rows = np.repeat(np.arange(utterances), frames)
        guesses = np.where(right, true, (true + 1) % 3)
        statistics = ClassStatistics.from_frames(rows, true.ravel(), guesses.ravel(), (utterances, 3))
        estimate = statistics.intervals(0.9)["accuracy"]
        hits += estimate.low <= 0.6 <= estimate.high
    assert 0.86 <= hits / trials <= 0.94
