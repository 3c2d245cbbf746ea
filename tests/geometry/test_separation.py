"""The permutation tests of words across speakers and of speakers across words."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import silhouette_score

from phonoscope.config.geometry import GeometryConfig
from phonoscope.geometry import cluster_scores
from phonoscope.geometry.scores import Score, _test_sample
from phonoscope.geometry.separation import separate
from phonoscope.stats import jackknife

from .planted import Spoken, spoken

CONFIG = GeometryConfig(permutations=59)


def separation_of(clips: Spoken, by: str = "word", config: GeometryConfig = CONFIG) -> Score:
    labels, within = (clips.words, clips.speakers) if by == "word" else (clips.speakers, clips.words)
    return cluster_scores(clips.vectors, labels, speakers=clips.speakers, within=within, config=config).scores[2]


def p_value(clips: Spoken, by: str) -> float:
    """The p-value alone, in a fraction of the time."""
    words, speakers = (np.unique(names, return_inverse=True)[1] for names in clips[1:])
    codes, blocks = (words, speakers) if by == "word" else (speakers, words)
    told = separate(clips.vectors, codes, blocks, speakers, permutations=59, seed=1)
    assert told is not None
    return told.p_value


def brute_force(clips: Spoken, by: str) -> float:
    """The separation from the mean distances of all pairs of cells."""
    cells = sorted(set(zip(clips.words, clips.speakers, strict=True)))
    near, far = [], []
    for one, other in combinations(cells, 2):
        same_label, same_block = (one[i] == other[i] for i in ((0, 1) if by == "word" else (1, 0)))
        if not same_block:
            rows = [[i for i, key in enumerate(zip(*clips[1:], strict=True)) if key == cell] for cell in (one, other)]
            pairs = [np.linalg.norm(clips.vectors[i] - clips.vectors[j]) for i in rows[0] for j in rows[1]]
            (near if same_label else far).append(np.mean(pairs))
    return float(1 - np.mean(near) / np.mean(far))


@pytest.mark.parametrize("by", ["word", "speaker"])
def test_the_separation_is_that_of_the_definition(by: str) -> None:
    clips = spoken(0, speakers=4, words=3, takes=3)
    kept = np.delete(np.arange(36), [0, 1, 7, 20])  # words of one, two and three takes
    clips = Spoken(clips.vectors[kept], *([names[i] for i in kept] for names in clips[1:]))
    score = separation_of(clips, by)
    assert score.value == pytest.approx(brute_force(clips, by))
    left_out = []
    for speaker in sorted(set(clips.speakers)):
        rest = [i for i, name in enumerate(clips.speakers) if name != speaker]
        left_out.append(brute_force(Spoken(clips.vectors[rest], *([n[i] for i in rest] for n in clips[1:])), by))
    assert score[3:5] == pytest.approx(jackknife(score.value, np.array(left_out), 0.95)[1:])


@pytest.mark.parametrize("speakers", [6, 14])
def test_words_that_share_nothing_across_speakers_are_not_significant(speakers: int) -> None:
    # a speaker's takes of a word lie close together, which says nothing about other speakers
    planted = [
        spoken(seed, speakers=speakers, words=5, takes=3, shared=0, voice=1, private=2, noise=0.3) for seed in range(40)
    ]
    p = np.array([p_value(clips, "word") for clips in planted])
    assert (p <= 0.05).sum() <= binom.ppf(0.999, 40, 0.05)
    assert 0.35 < p.mean() < 0.65


def test_voices_that_share_nothing_across_words_are_not_significant() -> None:
    planted = [
        spoken(seed, speakers=6, words=5, takes=3, shared=1, voice=0, private=2, noise=0.3) for seed in range(40)
    ]
    p = np.array([p_value(clips, "speaker") for clips in planted])
    assert (p <= 0.05).sum() <= binom.ppf(0.999, 40, 0.05)
    assert 0.35 < p.mean() < 0.65


def test_words_and_voices_that_are_shared_are_significant_though_silhouettes_are_below_0() -> None:
    clips = spoken(0, shared=0.4, voice=0.4, words=6, takes=2)
    assert silhouette_score(clips.vectors, clips.words) < 0
    for by in ("word", "speaker"):
        score = separation_of(clips, by)
        assert score.p_value == pytest.approx(1 / 60)
        assert score.ci_low is not None
        assert score.ci_low > 0


def test_the_null_of_the_silhouette_is_of_words_renamed_within_speakers() -> None:
    clips, rng = spoken(0, speakers=3, words=4, takes=3, private=2.0), np.random.default_rng(0)
    config = GeometryConfig(permutations=400, confidence=0.9)
    null = cluster_scores(
        clips.vectors, clips.words, speakers=clips.speakers, within=clips.speakers, config=config
    ).null
    assert null is not None
    names = np.array(clips.words).reshape(3, 4, 3)
    renamed = [np.concatenate([each[rng.permutation(4)].ravel() for each in names]) for _ in range(400)]
    expected = [silhouette_score(clips.vectors, labels) for labels in renamed]
    assert null.value == pytest.approx(np.mean(expected), abs=0.01)
    assert null[3:5] == pytest.approx(tuple(np.quantile(expected, [0.05, 0.95])), abs=0.02)


def test_equal_arrangements_are_equal_to_the_last_digit() -> None:
    # two speakers and two words have two arrangements only
    clips = spoken(0, speakers=2, words=2, takes=3, shared=3.0)
    assert 0.25 < separation_of(clips, config=GeometryConfig(permutations=199)).p_value < 0.75


def test_a_sample_takes_speakers_with_all_their_words() -> None:
    rng = np.random.default_rng(0)
    words, speakers = np.tile(np.arange(5), 200), np.repeat(np.arange(200), 5)
    order = rng.permutation(1000)
    rows = _test_sample(words[order], speakers[order], speakers[order], GeometryConfig(permutation_clips=100))
    assert np.unique(speakers[order][rows], return_counts=True)[1].tolist() == 10 * [5]
    words, speakers = np.tile(np.arange(5), 200), np.repeat(np.arange(4), 250)
    rows = _test_sample(words, speakers, speakers, GeometryConfig(permutation_clips=100))
    cells = np.unique(np.stack([words[rows], speakers[rows]]), axis=1, return_counts=True)[1]
    assert cells.tolist() == 20 * [5]
