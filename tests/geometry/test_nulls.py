from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from phonoscope.config.geometry import BootstrapConfig
from phonoscope.geometry import GeometryConfig, cluster_scores
from phonoscope.geometry.words import random_ranking

WORDS = ["yes", "yes", "no", "no", "yes", "no", "no", "zero", "zero"]
SPEAKERS = ["ada", "ben", "ada", "ben", "cy", "cy", "cy", "ada", "ada"]


def test_a_random_ranking_is_the_mean_over_all_orders() -> None:
    precisions, nearest = [], []
    for word, speaker in zip(WORDS, SPEAKERS, strict=True):
        others = [said == word for said, by in zip(WORDS, SPEAKERS, strict=True) if by != speaker]
        if not any(others):  # only one speaker says zero
            continue
        relevant = sum(others)
        orders = [order[:relevant] for order in itertools.permutations(others)]
        at_rank = [[hit * np.mean(order[: i + 1]) for i, hit in enumerate(order)] for order in orders]
        precisions.append(np.mean(at_rank))
        nearest.append(np.mean([order[0] for order in orders]))
    assert len(nearest) == 7
    assert random_ranking(WORDS, SPEAKERS) == pytest.approx((np.mean(precisions), np.mean(nearest)))


def test_the_null_is_where_silhouettes_of_permuted_labels_lie() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat(["yes", "no", "one"], 8)
    vectors = rng.normal(size=(24, 3)) + 5 * (labels == "yes")[:, None]
    config = GeometryConfig(permutations=400, bootstrap=BootstrapConfig(confidence=0.9))
    found = cluster_scores(vectors, list(labels), config=config)
    permuted = [silhouette_score(vectors, rng.permutation(labels)) for _ in range(400)]
    assert found.null.value == pytest.approx(np.mean(permuted), abs=0.01)
    assert (found.null.ci_low, found.null.ci_high) == pytest.approx(
        tuple(np.quantile(permuted, [0.05, 0.95])), abs=0.02
    )
    assert found.null.metric == "silhouette_null"
    assert found.scores[0].value > max(permuted)


def test_without_permutations_there_is_no_null() -> None:
    vectors = np.random.default_rng(0).normal(size=(8, 2))
    assert cluster_scores(vectors, ["yes", "no"] * 4, permute=False).null is None
