"""Transcripts as the decoder's tokens, and their probabilities."""

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
    words: tuple[int, ...]
    """Index of the word of `text.split()`; -1 for a token without letter or digit."""


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
    """Log-probability, in nats, of every token of each window's transcript and of its end, teacher-forced.

    Returns: per window a tensor of shape [tokens + 1].
    """
    tokens = token_batch(whisper, transcripts)
    # position i predicts token i + 1. Attention is causal, so the ends that fill a row change nothing before them
    states = encoded.decode(tokens[:, :-1])
    start = len(prompt(whisper)) - 1
    chosen = whisper.model.proj_out(states[:, start:]).log_softmax(-1).gather(2, tokens[:, start + 1 :, None])[..., 0]
    return [row[: len(ids) + 1] for row, ids in zip(chosen, transcripts, strict=True)]
