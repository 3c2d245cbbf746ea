from __future__ import annotations

import pytest

from phonoscope.errors import DataError
from phonoscope.whisper import normalize_text, word_error_rate


def test_digits_and_words_case_and_punctuation_do_not_count() -> None:
    assert word_error_rate(["seven", "It is one hundred and five!"], [" 7.", "it's 105"]) == 0.0


def test_errors_are_pooled_over_reference_words() -> None:
    references = ["the cat sat on the mat", "yes"]
    hypotheses = ["the cat sat the hat", "yes yes"]  # a deletion, a substitution, an insertion, of 7 words
    assert word_error_rate(references, hypotheses) == pytest.approx(3 / 7)


def test_rate_may_exceed_one() -> None:
    assert word_error_rate(["no"], ["I do not know"]) == 4.0


def test_an_empty_reference_counts_its_insertions() -> None:
    assert word_error_rate(["", "good day"], ["hello", "good day"]) == pytest.approx(1 / 2)


def test_normalized_text_has_no_outer_spaces() -> None:
    assert normalize_text(" Um, don't! ") == "do not"


def test_no_word_in_any_reference_is_refused() -> None:
    with pytest.raises(DataError, match="no reference"):
        word_error_rate(["", "..."], ["a", "b"])


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="2 references"):
        word_error_rate(["a", "b"], ["a"])
