from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from phonoscope.sae.interpret.effects import cohen_d, detectable_effect, power_table, sex_effects, skip_reason

SEX = ["F"] * 6 + ["M"] * 6


def speaker_means(features: int = 40) -> np.ndarray:
    means = np.random.default_rng(0).normal(5, 1, (12, features))
    means[:6, 0] += 6
    means[:, 1] = 0
    means[:, 2] = 3
    return means


def test_cohen_d_is_the_closed_form() -> None:
    assert cohen_d(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0])) == pytest.approx(-1.0)
    unequal = cohen_d(np.array([2.0, 4.0]), np.array([0.0, 1.0, 2.0]))
    assert unequal == pytest.approx((3 - 1) / np.sqrt((1 * 2 + 2 * 1) / 3))
    assert cohen_d(np.full(3, 0.1), np.full(3, 0.1)) == 0


def test_effects_find_the_planted_feature() -> None:
    means = speaker_means()
    table: Any = sex_effects(means, SEX, samples=200, confidence=0.9, seed=0)
    assert table["d"].abs().idxmax() == 0
    assert (table["d_q"] < 0.05).sum() == 1
    assert table.loc[0, "d"] == pytest.approx(cohen_d(means[:6, 0], means[6:, 0]))
    assert table.loc[0, "d_low"] < table.loc[0, "d"] < table.loc[0, "d_high"]
    assert table.loc[[1, 2]].to_numpy().tolist() == [[0, 0, 0, 1, 1]] * 2
    alive = table.index.difference([1, 2])
    assert table.loc[alive, "d_q"].to_numpy() == pytest.approx(
        multipletests(table.loc[alive, "d_p"], method="fdr_bh")[1]
    )


def test_speakers_of_unknown_sex_have_no_effect() -> None:
    means = speaker_means(5)
    first = sex_effects(means, SEX, samples=50, confidence=0.9, seed=3)
    more = sex_effects(np.r_[means, means[:1] * 100], [*SEX, ""], samples=50, confidence=0.9, seed=3)
    assert more["d"].to_numpy() == pytest.approx(first["d"].to_numpy())


@pytest.mark.parametrize(
    ("sex", "reason"),
    [
        (["F", "F"], "0 male"),
        (["M"], "0 female"),
        (["F", "M", "M"], "each sex needs two"),
        (["", ""], "0 female and 0 male"),
    ],
)
def test_fewer_than_two_speakers_of_a_sex_are_a_reason_to_skip(sex: list[str], reason: str) -> None:
    assert reason in skip_reason(sex)
    assert skip_reason(["F", "F", "M", "M"]) == ""


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
