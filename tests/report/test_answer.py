from __future__ import annotations

import pytest
from phonoscope.report.answer import NO_TWINS as NO_TWINS_SENTENCE
from phonoscope.report.answer import answer

from tests.report.planted import NO_TWINS, table, twins

CODECS = {
    "dac": {"phone": [0.2, 0.1], "speaker": [0.1, 0.4], "pitch": [0.3, 0.1]},
    "speechtokenizer": {"phone": [0.4, 0.1], "speaker": [0.2, 0.3], "pitch": [0.0, -0.1]},
}
MORE, LESS, SAME = (1.5, 1.4, 1.6), (0.7, 0.6, 0.8), (1.02, 0.95, 1.09)


def paragraph(phone: tuple[float, float, float], accuracy: tuple[float, float, float]) -> str:
    pairs = {("phone", "macro_f1"): phone, ("phone", "accuracy"): accuracy, ("speaker", "macro_f1"): SAME}
    return answer(table(CODECS), twins(pairs), utterances=42)


@pytest.mark.parametrize(
    ("phone", "accuracy", "verdict"),
    [
        (MORE, MORE, "**Yes**"),
        (LESS, LESS, "**No, on the contrary**"),
        (SAME, SAME, "**Not measurably**"),
        (MORE, SAME, "**It depends on the score**"),
        (MORE, LESS, "**It depends on the score**"),
    ],
)
def test_verdict(phone: tuple[float, float, float], accuracy: tuple[float, float, float], verdict: str) -> None:
    text = paragraph(phone, accuracy)
    assert f"Does distilling speechtokenizer's RVQ-1 make phones more decodable there? {verdict}: " in text
    assert text.count("**") == 2
    assert text.endswith("\n")
    assert text.count("\n") == 1


def test_numbers_of_the_twins() -> None:
    text = paragraph(MORE, LESS)
    assert (
        "more decodable by macro-F1, 0.300 against the twin's 0.200, 1.50 [1.40, 1.60] times "
        "(100 % of resamples over 1.1); less decodable by accuracy, 0.140 against the twin's 0.200, "
        "0.70 [0.60, 0.80] times (0 % of resamples over 1.1)."
    ) in text
    assert "Speakers at RVQ-1 of the distilled codec: not distinguishable by macro-F1, 0.204 against" in text
    assert "95 % intervals in brackets, bootstrap over 42 eval utterances" in text


def test_where_speaker_and_pitch_sit() -> None:
    text = paragraph(SAME, SAME)
    assert (
        "Speaker (macro-F1) is read best in dac: layer 2 of 2 (0.400 [0.390, 0.410], 50 % of the lookup); "
        "speechtokenizer: layer 2 of 2 (0.300 [0.290, 0.310], 50 % of the lookup)."
    ) in text
    assert (
        "Pitch (R²) is read best in dac: layer 1 of 2 (0.300 [0.290, 0.310], 50 % of the lookup); speechtokenizer: "
        "no layer, not told from the training mean (at most 0.000 [−0.010, 0.010], layer 1)."
    ) in text


def test_without_twins_or_tasks_it_says_so() -> None:
    text = answer(table({"dac": {"phone": [0.2, 0.1]}}), NO_TWINS, utterances=3)
    assert text.startswith(NO_TWINS_SENTENCE)
    assert "Speaker was not probed. Pitch was not probed." in text


def test_a_twin_that_scores_nothing_gives_a_difference() -> None:
    frame = twins({("phone", "macro_f1"): MORE})
    frame[["ratio", "ratio_low", "ratio_high", "p_over_1_1"]] = float("nan")
    text = answer(table(CODECS), frame, utterances=3)
    assert (
        "**Yes**: more decodable by macro-F1, 0.300 against the twin's 0.200, a difference of 0.100 [0.080, 0.120]."
        in text
    )


def test_probes_that_have_not_converged_are_counted() -> None:
    combined = table(CODECS, matched=True)
    assert "converged" not in answer(combined, NO_TWINS, utterances=3)
    chosen = (combined["codec"] == "dac") & (combined["layer"] == 2) & (combined["task"] == "phone")
    combined.loc[chosen, "converged"] = False
    assert answer(combined, NO_TWINS, utterances=3).endswith("1 of 12 probes have not converged: raise `max_iter`.\n")
