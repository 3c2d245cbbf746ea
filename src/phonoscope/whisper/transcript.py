"""Transcripts: as the decoder's tokens, their probabilities, and word error rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from phonoscope.errors import DataError

if TYPE_CHECKING:
    import torch

    from phonoscope.whisper.model import Encoded, Whisper


class TextTokens(NamedTuple):
    """A transcript's tokens, without prompt and end, and the word of each."""

    ids: tuple[int, ...]
    words: tuple[int, ...]  # index into `text.split()`; -1 for a token without letter or digit


def as_sentence(text: str) -> str:
    """A transcript as Whisper would write it: corpora that are all lower or upper case become sentences.

    Without this, cross-entropy would mostly measure a corpus's typography.
    """
    text = " ".join(text.split())
    if text and (text == text.lower() or text == text.upper()):
        text = text[0].upper() + text[1:].lower()
    return text if not text or text[-1] in ".?!" else f"{text}."


def tokenize(whisper: Whisper, text: str) -> TextTokens:
    """The tokens of a transcript, as it stands; an empty one has none."""
    ids: list[int] = []
    words: list[int] = []
    for index, word in enumerate(text.split()):  # Whisper's tokens never cross a space
        pieces = whisper.tokenizer(f" {word}", add_special_tokens=False)["input_ids"]
        ids += pieces
        words += [index if any(map(str.isalnum, whisper.tokenizer.decode([token]))) else -1 for token in pieces]
    return TextTokens(tuple(ids), tuple(words))


def prompt(whisper: Whisper) -> list[int]:
    """Tokens that every transcript starts with: start, for multilingual models language and task, no timestamps."""
    generation: Any = whisper.model.generation_config
    many: Any = whisper.tokenizer.convert_tokens_to_ids(["<|en|>", "<|transcribe|>"])
    language = many if getattr(generation, "is_multilingual", False) else []
    return [generation.decoder_start_token_id, *language, generation.no_timestamps_token_id]


def token_batch(whisper: Whisper, transcripts: Sequence[Sequence[int]]) -> torch.Tensor:
    """Prompt, tokens and end of each transcript, filled with ends to one length: [transcripts, positions].

    Raises: `DataError` for a transcript that is longer than Whisper's text context.
    """
    import torch

    end = whisper.model.generation_config.eos_token_id
    rows = [[*prompt(whisper), *ids, end] for ids in transcripts]
    longest, most = max(map(len, rows)), whisper.model.config.max_target_positions
    if longest > most + 1:  # the end is only predicted
        raise DataError(f"a window's transcript has {longest} tokens, Whisper's decoder takes {most}; shorten it")
    return torch.tensor([row + [end] * (longest - len(row)) for row in rows], device=whisper.device)


def log_probabilities(whisper: Whisper, encoded: Encoded, transcripts: Sequence[Sequence[int]]) -> list[torch.Tensor]:
    """Log-probabilities [tokens + 1], in nats, of each window's transcript and of its end, teacher-forced."""
    tokens = token_batch(whisper, transcripts)
    # position i predicts token i + 1. Attention is causal, so the ends that fill a row change nothing before them
    states = encoded.decode(tokens[:, :-1])
    start = len(prompt(whisper)) - 1
    chosen = whisper.model.proj_out(states[:, start:]).log_softmax(-1).gather(2, tokens[:, start + 1 :, None])[..., 0]
    return [row[: len(ids) + 1] for row, ids in zip(chosen, transcripts, strict=True)]


def normalize_text(text: str) -> str:
    """Whisper's English normalizer: lower case, no punctuation, contractions spelled out, number words as digits.

    Number words in a row become one number (`one two` is `12`, while `1 2` stays two words), so strings of digits are
    scored too harshly. The British-to-American spelling table, which transformers does not ship, is left out.
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
