"""Word error rate, after Whisper's own text normalization."""

from __future__ import annotations

from collections.abc import Sequence

from phonoscope.errors import DataError


def normalize_text(text: str) -> str:
    """Whisper's English normalizer: lower case, no punctuation, contractions spelled out, number words as digits.

    Whisper writes `7` for `seven`, so both sides become digits; number words in a row become one number (`one two` is
    `12`, while `1 2` stays two words), so strings of digits are scored too harshly. The British-to-American spelling
    table, which transformers does not ship, is left out.
    """
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    words = str(EnglishTextNormalizer({})(text)).split()
    return " ".join(word for word in words if any(map(str.isalnum, word)))  # the normalizer leaves some of "..."


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Edits over reference words, pooled over all utterances, both sides normalized. May exceed 1.

    Raises: `ValueError` if the lengths differ, `DataError` if no reference holds a word.
    """
    if len(references) != len(hypotheses):
        raise ValueError(f"{len(references)} references, but {len(hypotheses)} hypotheses")
    counts = [word_errors(*pair) for pair in zip(references, hypotheses, strict=True)]
    errors, words = (sum(column) for column in zip((0, 0), *counts, strict=True))
    if not words:
        raise DataError("no reference transcript holds a word, so there is no word error rate; give transcripts")
    return errors / words


def word_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """Substituted, deleted and inserted words of one utterance, and the words of its reference, both normalized."""
    import jiwer

    truth, guess = normalize_text(reference), normalize_text(hypothesis)
    if not truth:  # jiwer has no errors without a reference
        return len(guess.split()), 0
    edits = jiwer.process_words(truth, guess)
    return edits.substitutions + edits.deletions + edits.insertions, len(truth.split())
