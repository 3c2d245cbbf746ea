from __future__ import annotations

from phonoscope.vq.answers import hypotheses, questions

from .findings import findings


def test_a_collapse_in_every_mode_and_split_refutes_the_four_hypotheses() -> None:
    assert [answer.verdict for answer in hypotheses(findings())] == ["refuted"] * 4


def test_without_a_collapse_they_are_not_refuted_by_the_same_rules() -> None:
    verdicts = [answer.verdict for answer in hypotheses(findings(collapse=False))]
    assert verdicts == ["not refuted"] * 4


def test_a_hypothesis_whose_arm_did_not_run_is_not_tested() -> None:
    assert hypotheses(findings(arms=()))[1].verdict == "not tested"


def test_the_questions_are_answered_from_the_measures() -> None:
    when, same, drift, gradient = questions(findings())
    assert when.verdict == "neither: it is collapsed in training"
    assert "1.5, 1.5" in when.measured
    assert same.verdict == "the same 2 within one evaluation, others in the next"
    assert "In 6 evaluations, one an epoch, 6 [6, 6] different codes" in same.measured
    assert drift.verdict == "hardly"
    assert gradient.verdict == "yes, and it changes nothing"


def test_other_measures_give_other_answers() -> None:
    found = findings(collapse=False)
    for name in ("vq_unscaled",):
        found.tables[name]["drift"] = 0.4
        found.tables[name]["top_code"] = 7
        found.checks[name]["evaluated_with_graph"] = 1.0
    when, same, drift, gradient = questions(found)
    assert when.verdict == "not at the first batch"
    assert same.verdict.endswith("and often in the next")
    assert drift.verdict == "yes"
    assert gradient.verdict == "no, or it matters"
