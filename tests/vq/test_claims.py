from __future__ import annotations

import pytest
from phonoscope.vq.claims import judge

from .findings import findings


def test_a_planted_collapse_fulfils_every_claim_always() -> None:
    judged = judge(findings().tables)
    assert len(judged) == 6
    assert all((one.holds, one.single) == (True, 1.0) for one in judged.values())


def test_without_a_collapse_the_claims_of_the_faulty_update_fail() -> None:
    judged = judge(findings(collapse=False).tables)
    assert [one.holds for one in judged.values()] == [True, True, True, False, False, False]


def test_a_claim_is_judged_by_its_worst_variant() -> None:
    found = findings().tables
    found["vq_hdp"].loc[found["vq_hdp"]["split"] == "eval", "perplexity_dataset"] = 90.0
    found["vq_hsmm"]["active_codes"] = 100
    found["vq_hdp_hsmm"]["accuracy"] = 0.94
    found["vq_unscaled"]["active_codes"] = 6
    found["vq_hdp_unscaled"]["accuracy"] = 0.5
    found["vq_hsmm_unscaled"]["perplexity_ema"] = 161.0
    judged = list(judge(found).values())
    assert [one.holds for one in judged] == [False] * 6
    assert [one.single for one in judged] == [pytest.approx(3 / 4)] * 6
    assert judged[0].seen == "-25.0% (vq_hdp) to +0.0% (vq_hdp_hsmm)"
    assert judged[5].seen == "100 (vq_unscaled) to 161 (vq_hsmm_unscaled)"


def test_an_arm_and_the_first_half_of_a_run_do_not_count() -> None:
    found = findings().tables
    found["vq_no_augmentation"]["active_codes"] = 1
    for table in found.values():
        table.loc[table["epoch"] <= 3, "accuracy"] = 0.5
    assert all((one.holds, one.single) == (True, 1.0) for one in judge(found).values())


def test_a_run_whose_epochs_differ_is_judged_by_their_median() -> None:
    """Two of three settled epochs of one variant of four keep to the limit."""
    found = findings().tables
    table = found["vq_unscaled"]
    table.loc[table["epoch"] == 5, "active_codes"] = 12
    judged = list(judge(found).values())[3]
    assert judged.holds
    assert judged.single == pytest.approx(11 / 12)
