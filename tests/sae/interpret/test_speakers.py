from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from phonoscope.sae.interpret import speakers
from phonoscope.sae.interpret.speakers import accent_profiles, detectable_effect, power_table, sex_effects

SEX = ["F"] * 6 + ["M"] * 6


def speaker_means(features: int = 40) -> np.ndarray:
    means = np.random.default_rng(0).normal(5, 1, (12, features))
    means[:6, 0] += 6
    means[:, 1] = 0
    means[:, 2] = 3
    return means


@pytest.mark.parametrize("d", [0, 1, 3])
def test_seven_against_seven_speakers_have_an_unbiased_effect_whose_interval_covers(d: int) -> None:
    rng = np.random.default_rng(d)
    means = np.concatenate([rng.normal(20 + d, 1, (7, 2000)), rng.normal(20, 1, (7, 2000))])
    table = sex_effects(means, ["F"] * 7 + ["M"] * 7, confidence=0.95)
    assert 0.93 < table["g_low"].le(d).mul(table["g_high"].ge(d)).mean() < 0.97
    assert table["g"].mean() == pytest.approx(d, abs=0.05)


def test_effects_find_the_planted_feature() -> None:
    means = speaker_means()
    table: Any = sex_effects(means, SEX, confidence=0.9)
    assert table["g"].abs().idxmax() == 0
    assert (table["g_q"] < 0.05).sum() == 1
    assert table.loc[0, "g_low"] < table.loc[0, "g"] < table.loc[0, "g_high"]
    assert table.loc[[1, 2]].to_numpy().tolist() == [[0, 0, 0, 1, 1]] * 2
    alive = table.index.difference([1, 2])
    assert table.loc[alive, "g_q"].to_numpy() == pytest.approx(
        multipletests(table.loc[alive, "g_p"], method="fdr_bh")[1]
    )


def test_speakers_of_unknown_sex_have_no_effect() -> None:
    means = speaker_means(5)
    first = sex_effects(means, SEX, confidence=0.9)
    more = sex_effects(np.r_[means, means[:1] * 100], [*SEX, ""], confidence=0.9)
    assert more["g"].to_numpy() == pytest.approx(first["g"].to_numpy())


def test_fewer_than_two_speakers_of_a_sex_are_a_reason_to_skip() -> None:
    reasons = {"FF": "0 male", "M": "0 female", "FMM": "each sex needs two", "": "0 female and 0 male", "FFMM": ""}
    for sex, reason in reasons.items():
        assert reason in speakers.sexes_skipped(list(sex))
    assert speakers.sexes_skipped(list("FFMM")) == ""


def test_power_is_cohens_table() -> None:
    """Cohen (1988), table 2.4.1: 393, 64 and 26 a group at power 0.8; G*Power rounds the first up to 394."""
    table = power_table(["F"] * 70 + ["M"] * 100, alpha=0.05, power=0.8)
    assert table["speakers_per_sex"].tolist() == [394, 64, 26]
    assert table["speakers"].tolist() == [788, 128, 52]
    assert table["enough"].tolist() == [False, True, True]
    assert table["there"].tolist() == [70] * 3


def test_detectable_effect_inverts_the_power_table() -> None:
    assert detectable_effect(["F"] * 64 + ["M"] * 64, alpha=0.05, power=0.8) == pytest.approx(0.5, abs=0.005)
    assert detectable_effect(["F", "M", "M"], alpha=0.05, power=0.8) == 0


def corpus(count: int = 8, takes: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    speaker = np.repeat(np.arange(count), takes)
    sex = np.where(speaker % 2, "M", "F")
    names = np.array([f"s{number}" for number in speaker])
    train = np.tile(np.arange(takes) < takes - 1, count)
    return rng.normal(size=(len(speaker), 10)), sex, names, train


def scores(means: np.ndarray) -> dict[str, float]:
    _, sex, speaker, train = corpus()
    table = speakers.sex_forest(means, sex, speaker, train, trees=20, seed=0)
    return {str(name): float(own["balanced_accuracy"].iloc[0]) for name, own in table.groupby("split_by")}


def test_what_only_names_the_speaker_does_not_pass_for_sex() -> None:
    """A feature a speaker: known speakers are told apart, held-out ones are not."""
    means, _, speaker, _ = corpus()
    for number, name in enumerate(sorted(set(speaker))):
        means[:, number] = speaker == name
    accuracies = scores(means[:, :8])
    assert accuracies["utterance"] == 1.0
    assert accuracies["speaker"] < 0.7


def test_a_feature_of_the_sex_holds_for_new_speakers() -> None:
    means, sex, _, _ = corpus()
    means[:, :5] += 6 * (sex == "F")[:, None]
    assert scores(means) == {"utterance": 1.0, "speaker": 1.0}


def test_the_report_is_by_sex_and_without_eval_by_speaker_alone() -> None:
    means, sex, speaker, train = corpus()
    table = speakers.sex_forest(means, sex, speaker, train, trees=5, seed=0)
    assert table[["split_by", "sex"]].to_numpy().tolist() == [[a, b] for a in ("utterance", "speaker") for b in "FM"]
    assert table.loc[2:, "support"].tolist() == [24, 24]
    own = table[table["split_by"] == "speaker"]
    assert own["balanced_accuracy"].iloc[0] == pytest.approx(own["recall"].mean())
    table = speakers.sex_forest(means, sex, speaker, np.ones_like(train), trees=5, seed=0)
    assert set(table["split_by"]) == {"speaker"}


def test_profiles_of_accents_that_are_alike_are_near() -> None:
    rng = np.random.default_rng(0)
    centres = {"rp": np.zeros(30), "scotland": np.r_[np.ones(5), np.zeros(25)], "us": np.full(30, 4.0)}
    accents = [name for name in centres for _ in range(3)]
    means = np.stack([centres[name] + 0.1 * rng.normal(size=30) for name in accents])
    names, profiles = accent_profiles(np.c_[means, np.ones(9)], accents)
    assert names == ("rp", "scotland", "us")
    assert profiles.shape == (3, 30)
    rp, scotland, us = profiles
    assert np.linalg.norm(rp - scotland) < np.linalg.norm(rp - us)
    names, profiles = accent_profiles(np.array([[0.0], [2.0], [99.0]]), ["a", "b", ""])  # no accent: left out
    assert (names, profiles.tolist()) == (("a", "b"), [[-1.0], [1.0]])


def test_one_accent_is_a_reason_to_skip() -> None:
    assert "one accent (rp)" in speakers.accents_skipped(["rp", "rp", ""])
    assert "no accents" in speakers.accents_skipped(["", ""])
    assert speakers.accents_skipped(["rp", "us"]) == ""


def test_maps_keep_clusters_apart() -> None:
    rng = np.random.default_rng(0)
    points = np.r_[np.tile([5.0, 0, 0], (20, 1)), np.tile([0, 5.0, 0], (20, 1))] + 0.1 * rng.normal(size=(40, 3))
    left, right = np.split(speakers.tsne(points, 1), 2)
    assert np.linalg.norm(left.mean(0) - right.mean(0)) > left.std() + right.std()
