from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.stats import ortho_group

from phonoscope.errors import DataError
from phonoscope.geometry import GeometryConfig, probe_words, retrieve, words
from phonoscope.geometry.leave_out import speaker_groups
from phonoscope.geometry.words import random_ranking

CONFIG = GeometryConfig()


def clips(n: int = 90, speakers: int = 6, seed: int = 0) -> tuple[np.ndarray, list[str], list[str]]:
    rng = np.random.default_rng(seed)
    said = rng.integers(0, 5, n)
    vectors = rng.normal(size=(n, 6))
    vectors[:, 0] += said
    return vectors, [f"w{word}" for word in said], [f"s{i % speakers}" for i in range(n)]


def brute_force(vectors: np.ndarray, said: list[str], speakers: list[str], query: int) -> tuple[float, float]:
    """AP@R and 1-NN hit of one query, by the definition."""
    others = [i for i in range(len(said)) if speakers[i] != speakers[query]]
    others.sort(key=lambda i: float(np.linalg.norm(vectors[i] - vectors[query])))
    relevant = [said[i] == said[query] for i in others]
    total = sum(relevant)
    precision = [sum(relevant[: rank + 1]) / (rank + 1) for rank in range(total) if relevant[rank]]
    return sum(precision) / total, float(relevant[0])


@pytest.mark.parametrize("sparse", [False, True])
def test_retrieval_is_that_of_the_definition(monkeypatch: pytest.MonkeyPatch, sparse: bool) -> None:
    monkeypatch.setattr(words, "QUERIES", 37)
    vectors, said, speakers = clips()
    precision, nearest = retrieve(csr_array(vectors) if sparse else vectors, said, speakers, CONFIG)
    truth = [brute_force(vectors, said, speakers, query) for query in range(len(said))]
    np.testing.assert_allclose(np.column_stack([precision.values, nearest.values]), truth, atol=1e-12)
    assert precision.rows.tolist() == list(range(90))


@pytest.mark.parametrize("speakers", [6, 60])
def test_each_group_of_speakers_is_left_out_as_if_it_had_not_been_recorded(speakers: int) -> None:
    vectors, said, people = clips(180, speakers)
    scores, groups = retrieve(vectors, said, people, CONFIG), speaker_groups(np.array(people))
    for group in range(groups.max() + 1):
        rest = np.flatnonzero(groups != group)
        alone = retrieve(vectors[rest], [said[i] for i in rest], [people[i] for i in rest], CONFIG)
        for score, expected in zip(scores, alone, strict=True):
            assert score.left_out[group] == pytest.approx(expected.values.mean(), abs=1e-12)


def test_clips_of_the_querys_own_speaker_are_not_retrieved(caplog: pytest.LogCaptureFixture) -> None:
    said, speakers = ["yes", "yes", "yes", "no"], ["a", "a", "b", "b"]
    precision, nearest = retrieve(np.array([[0.0], [0.1], [5.0], [9.0]]), said, speakers, CONFIG)
    assert precision.rows.tolist() == [0, 1, 2]  # nobody else says no
    assert "1 clips have no clip of their word by another speaker" in caplog.text
    assert precision.values.tolist() == nearest.values.tolist() == [1, 1, 1]
    swapped, _ = retrieve(np.array([[0.0], [0.1], [9.0], [5.0]]), said, speakers, CONFIG)
    assert swapped.values.tolist() == [0, 0, 1]
    with pytest.raises(DataError, match="no word is said by two speakers"):
        retrieve(np.eye(4), ["yes", "yes", "no", "no"], speakers, CONFIG)


def test_a_random_ranking_is_the_mean_over_all_orders() -> None:
    said = ["yes", "yes", "no", "no", "yes", "no", "no", "zero", "zero"]
    speakers = ["ada", "ben", "ada", "ben", "cy", "cy", "cy", "ada", "ada"]
    precisions, nearest = [], []
    for word, speaker in zip(said, speakers, strict=True):
        others = [other == word for other, by in zip(said, speakers, strict=True) if by != speaker]
        if not any(others):  # only one speaker says zero
            continue
        relevant = sum(others)
        orders = [order[:relevant] for order in itertools.permutations(others)]
        at_rank = [[hit * np.mean(order[: i + 1]) for i, hit in enumerate(order)] for order in orders]
        precisions.append(np.mean(at_rank))
        nearest.append(np.mean([order[0] for order in orders]))
    assert len(nearest) == 7
    assert random_ranking(said, speakers) == pytest.approx((np.mean(precisions), np.mean(nearest)))


def test_retrieval_samples_above_the_limit() -> None:
    vectors, said, speakers = clips(200)
    config = CONFIG.model_copy(update={"max_quadratic_clips": 50})
    precision, _ = retrieve(vectors, said, speakers, config)
    rows = precision.rows
    assert len(rows) == 50
    np.testing.assert_array_equal(probe_words(vectors, said, speakers, config).rows, rows)
    alone, _ = retrieve(vectors[rows], [said[i] for i in rows], [speakers[i] for i in rows], CONFIG)
    np.testing.assert_array_equal(precision.values, alone.values)


def test_the_probe_never_hears_the_speaker_it_is_asked_about() -> None:
    rng = np.random.default_rng(0)
    speakers, said = np.repeat(np.arange(6), 20), np.tile(np.arange(4), 30)
    codes = [rng.permutation(4) for _ in range(6)]  # each speaker's own code for the words
    private = np.zeros((120, 24))
    private[np.arange(120), [4 * s + codes[s][w] for s, w in zip(speakers, said, strict=True)]] = 1
    shared = np.eye(4)[said] + 0.1 * rng.normal(size=(120, 4))
    names, people = [str(w) for w in said], [str(s) for s in speakers]
    assert probe_words(private, names, people, CONFIG).values.mean() < 0.45
    assert probe_words(shared, names, people, CONFIG).values.mean() == 1


def test_the_probe_depends_on_the_metric_alone() -> None:
    vectors, said, speakers = clips()
    turned = 3.0 * vectors @ np.asarray(ortho_group(6, seed=1).rvs()) + 4
    once, again, sparse = (probe_words(x, said, speakers, CONFIG).values for x in (vectors, turned, csr_array(vectors)))
    assert np.mean(once == again) > 0.97
    assert np.mean(once == sparse) > 0.97
    assert once.mean() > 0.3


def test_the_probe_needs_two_speakers_who_say_two_words() -> None:
    vectors, said, _ = clips()
    with pytest.raises(DataError, match="two speakers or more"):
        probe_words(vectors, said, ["a"] * 90, CONFIG)
    with pytest.raises(DataError, match="all speakers but those of one fold say one word only"):
        probe_words(np.eye(6), ["yes"] * 2 + ["no"] * 4, list("aabbcc"), CONFIG.model_copy())
