from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import entropy
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score
from sklearn.preprocessing import StandardScaler

from phonoscope.probes.information import (
    SMOOTHING,
    assign_blocks,
    held_out_bits,
    linear_log2,
    log_ratio,
    null_bits,
    online_costs,
    plug_in_bits,
    pointwise_bits,
)
from phonoscope.probes.tables import count_pairs
from phonoscope.stats import ratio_interval

JOINT = np.array([[0.2, 0.05, 0.05], [0.05, 0.2, 0.05], [0.05, 0.05, 0.1], [0.05, 0.05, 0.1]])


def draw(joint: NDArray[np.float64], frames: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    cells = rng.choice(joint.size, size=frames, p=joint.ravel())
    return cells // joint.shape[1], cells % joint.shape[1]


def test_the_plug_in_estimate_is_that_of_scikit_learn() -> None:
    codes, labels = draw(JOINT, 500, 0)
    counts = np.zeros(JOINT.shape)
    np.add.at(counts, (codes, labels), 1)
    assert plug_in_bits(counts) == pytest.approx(mutual_info_score(codes, labels) / np.log(2))
    counts[0] = 0
    assert np.isfinite(pointwise_bits(counts)).all()


def segments(codes: NDArray[np.int64], labels: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], ...]:
    """Codes and labels that last 2 to 8 frames, as a phone does, and their utterances of 20 segments."""
    lengths = np.random.default_rng(seed).integers(2, 9, len(codes))
    return tuple(part.repeat(lengths) for part in (codes, labels, np.arange(len(codes)) // 20))


def test_labels_that_tell_nothing_have_no_information_though_codes_last_as_long_as_they() -> None:
    """A null that ignores the segments' edges leaves some 0.1 bits here."""
    independent, corrected, bounds = np.outer(np.full(64, 1 / 64), np.full(8, 1 / 8)), [], []
    for seed in range(30):
        codes, labels, utterances = segments(*draw(independent, 1_000, seed), seed)
        shape = independent.shape
        null = null_bits(codes, labels, utterances, shape, draws=10, seed=seed)
        corrected.append(plug_in_bits(count_pairs(codes, labels, shape)) - null)
        saved = held_out_bits(codes, labels, utterances, shape, folds=5, seed=seed)
        bounds.append(ratio_interval(saved.bits, saved.frames, confidence=0.9))
    assert null > 0.2  # the plug-in estimate alone would report as much
    assert abs(np.mean(corrected)) < 0.02
    assert np.mean([bound.value for bound in bounds]) == pytest.approx(0, abs=0.01)
    assert np.mean([bound.low <= 0 for bound in bounds]) >= 0.9


@pytest.mark.parametrize(("count", "gap"), [(400, 0.15), (20_000, 0.01)])
def test_the_held_out_bits_are_a_lower_bound_that_nears_the_truth(count: int, gap: float) -> None:
    truth = float((JOINT * np.log2(JOINT / np.outer(JOINT.sum(axis=1), JOINT.sum(axis=0)))).sum())
    codes, labels, utterances = segments(*draw(JOINT, count, 0), 0)
    saved = held_out_bits(codes, labels, utterances, JOINT.shape, folds=5, seed=0)
    value, low, _ = ratio_interval(saved.bits, saved.frames, confidence=0.95)
    assert low < truth
    assert truth - gap < value < truth + 0.02
    assert saved.frames.sum() == len(codes)
    assert saved.entropy == pytest.approx(entropy(np.bincount(labels), base=2))


def test_held_out_bits_are_those_of_a_loop_over_utterances() -> None:
    codes, labels, utterances = segments(*draw(JOINT, 100, 3), 3)
    saved = held_out_bits(codes, labels, utterances, JOINT.shape, folds=5, seed=7)  # five utterances: each a fold
    for utterance in range(5):
        billed = [
            sum(
                log_ratio(count_pairs(codes[train], labels[train], JOINT.shape), smoothing)[code, label]
                for code, label in zip(codes[~train], labels[~train], strict=True)
            )
            for smoothing in SMOOTHING
            for train in [utterances != utterance]
        ]
        assert np.abs(np.array(billed) - saved.bits[utterance]).min() < 1e-9


def test_blocks_hold_whole_utterances_and_end_at_their_shares() -> None:
    sizes = np.random.default_rng(0).integers(1, 20, size=200)
    blocks = assign_blocks(sizes, (0.1, 0.25, 1.0), seed=1)
    shares = np.bincount(blocks, weights=sizes) / sizes.sum()
    np.testing.assert_allclose(shares, [0.1, 0.15, 0.75], atol=0.02)
    assert (assign_blocks(sizes, (0.1, 0.25, 1.0), seed=2) != blocks).any()


def test_the_code_is_that_of_a_loop_over_frames_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    codebook = rng.normal(size=(12, 3))
    codes = rng.integers(12, size=300)
    labels = (codebook[codes, 0] + rng.normal(scale=0.5, size=300) > 0).astype(int) + (codes % 4 == 0)
    bounds = [0, 60, 140, 300]
    blocks = [slice(*pair) for pair in itertools.pairwise(bounds)]
    tables = [count_pairs(codes[part], labels[part], (12, 3)) for part in blocks]
    settings = {"C": 0.5, "max_iter": 500, "tolerance": 1e-8}
    costs = online_costs(tables, lambda counts: linear_log2(counts, codebook, **settings))  # type: ignore[arg-type]
    ours = sum(float((table * cost).sum()) for table, cost in zip(tables, costs, strict=True))

    expected = bounds[1] * np.log2(3)
    for stop, part in zip(bounds[1:], blocks[1:], strict=False):
        seen, counts = codes[:stop], np.bincount(codes[:stop], minlength=12)
        weight = np.concatenate([np.ones(stop), np.repeat(counts / stop, 3)])
        vectors = np.concatenate([codebook[seen], codebook.repeat(3, axis=0)])
        targets = np.concatenate([labels[:stop], np.tile([0, 1, 2], 12)])
        scaler = StandardScaler().fit(vectors, sample_weight=weight)
        model = LogisticRegression(C=0.5, max_iter=5_000, tol=1e-8)
        model.fit(scaler.transform(vectors), targets, sample_weight=weight)
        for code, label in zip(codes[part], labels[part], strict=True):
            expected -= np.log2(model.predict_proba(scaler.transform(codebook[[code]]))[0, label])
    assert ours == pytest.approx(expected, rel=1e-5)


def test_a_class_not_seen_yet_has_a_price() -> None:
    counts = np.array([[5.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
    price = -linear_log2(counts, np.eye(2), C=1.0, max_iter=200, tolerance=1e-6)
    assert np.isfinite(price).all()
    assert price[:, 2].min() > 2
    np.testing.assert_allclose((2.0**-price).sum(axis=1), 1.0)
