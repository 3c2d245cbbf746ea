from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score
from sklearn.preprocessing import StandardScaler

from phonoscope.probes.information import (
    assign_blocks,
    linear_log2,
    mutual_information,
    online_costs,
    plug_in_bits,
    pointwise_bits,
)
from phonoscope.probes.tables import count_pairs
from phonoscope.stats import permute_labels

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


def test_independent_labels_have_no_information_within_its_error() -> None:
    independent = np.outer(np.full(64, 1 / 64), np.full(8, 1 / 8))
    estimates = []
    for seed in range(40):
        codes, labels = draw(independent, 2_000, seed)
        estimates.append(mutual_information(codes, labels, np.arange(2_000) // 20, (64, 8), draws=10, seed=seed))
    assert min(f.null for f in estimates) > 0.1  # the plug-in estimate alone would report as much
    assert abs(np.mean([f.value for f in estimates])) < 0.003
    assert np.mean([f.low <= 0 <= f.high for f in estimates]) >= 0.9


@pytest.mark.parametrize(
    ("frames", "unit", "copies", "least", "most"),
    [(600, 10, 1, 0.85, 0.96), (200, 8, 8, 0.82, 0.97)],
    ids=["independent", "repeated"],
)
def test_intervals_cover_the_truth_at_their_rate(
    frames: int, unit: int, copies: int, least: float, most: float
) -> None:
    """Also where a unit repeats one pair eight times, which is the evidence of an eighth of the frames."""
    truth, hits = float((JOINT * np.log2(JOINT / np.outer(JOINT.sum(axis=1), JOINT.sum(axis=0)))).sum()), 0
    for seed in range(200):
        codes, labels = (part.repeat(copies) for part in draw(JOINT, frames, seed))
        units = np.arange(len(codes)) // unit
        bits = mutual_information(codes, labels, units, JOINT.shape, draws=10, seed=seed, confidence=0.9)
        hits += bits.low <= truth <= bits.high
    assert least <= hits / 200 <= most


def test_permuted_sequences_keep_their_order() -> None:
    units, labels = np.repeat(np.arange(30), 20), np.tile(np.repeat([0, 1], 10), 30)
    permuted = permute_labels(labels, units, seed=0)
    changes = [int((np.diff(np.append(part, part[:1])) != 0).sum()) for part in permuted.reshape(30, 20)]
    assert set(changes) == {2}  # two runs in a circle of 20 frames, as before
    assert (permuted != labels).any()
    assert np.bincount(permuted).tolist() == np.bincount(labels).tolist()


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
