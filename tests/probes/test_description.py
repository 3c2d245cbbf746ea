from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from phonoscope.probes.description import assign_blocks, linear_log2, online_costs
from phonoscope.probes.tables import count_pairs


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
