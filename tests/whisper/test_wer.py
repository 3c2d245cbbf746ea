from __future__ import annotations

import pytest

from phonoscope.errors import DataError
from phonoscope.whisper import normalize_text, word_error_rate


@pytest.mark.parametrize(
    ("references", "hypotheses", "rate"),
    [
        (["seven", "It is one hundred and five!"], [" 7.", "it's 105"], 0),
        (["the cat sat on the mat", "yes"], ["the cat sat the hat", "yes yes"], 3 / 7),  # one error of each kind
        (["no"], ["I do not know"], 4),
        (["", "good day"], ["hello", "good day"], 1 / 2),
    ],
    ids=["digits, case and punctuation", "pooled over words", "above one", "empty reference"],
)
def test_errors_are_counted_over_reference_words(references: list[str], hypotheses: list[str], rate: float) -> None:
    assert word_error_rate(references, hypotheses) == pytest.approx(rate)


def test_normalized_text_has_no_outer_spaces() -> None:
    assert normalize_text(" Um, don't! ") == "do not"


def test_no_word_in_any_reference_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="no reference"):
        word_error_rate(["", "..."], ["a", "b"])
    with pytest.raises(ValueError, match="2 references"):
        word_error_rate(["a", "b"], ["a"])
