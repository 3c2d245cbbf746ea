from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from phonoscope.errors import DataError
from phonoscope.whisper import Whisper, word_error_rate
from phonoscope.whisper.model import Encoded, embed, run_blocks, transcripts
from phonoscope.whisper.transcript import TextTokens, as_sentence, log_probabilities, prompt, token_batch, tokenize

from .checkout import SENTENCES, noise


def test_transcripts_are_written_as_whisper_would_and_once() -> None:
    sentences = {"seven": "Seven.", "HE SAID  NO": "He said no.", "Mr. Smith went": "Mr. Smith went."}
    for text, expected in {**sentences, "Is it?": "Is it?", "": "", "  ": ""}.items():
        assert as_sentence(text) == expected == as_sentence(expected)


def test_an_empty_transcript_has_no_tokens(tiny: Whisper) -> None:
    assert tokenize(tiny, "") == TextTokens((), ())


def test_words_are_tokenized_as_in_the_whole_sentence(packaged: Whisper) -> None:
    for text in (*SENTENCES, "Don't stop, it's 10.5% more - really!"):
        tokenized = tokenize(packaged, text)
        assert list(tokenized.ids) == packaged.tokenizer(f" {text}", add_special_tokens=False)["input_ids"]
        for number, word in enumerate(text.split()):
            own = [token for token, index in zip(tokenized.ids, tokenized.words, strict=True) if index == number]
            letters = "".join(filter(str.isalnum, str(packaged.tokenizer.decode(own))))
            assert letters == "".join(filter(str.isalnum, word))


def test_log_probabilities_are_the_models_own_loss(packaged: Whisper) -> None:
    whole = [noise(16_000, seed) for seed in (0, 1, 2)]
    texts = [tokenize(packaged, text).ids for text in ("Yes.", SENTENCES[1], "")]
    with torch.no_grad():
        stream = run_blocks(packaged, embed(packaged, whole, 16_000))
        scored = log_probabilities(packaged, Encoded(packaged, stream), texts)
        for row, scores, tokens in zip(stream, scored, texts, strict=True):
            alone = token_batch(packaged, [tokens])
            encoded = packaged.model.model.encoder.layer_norm(row[None])
            logits = packaged.model(encoder_outputs=(encoded,), decoder_input_ids=alone[:, :-1]).logits[0]
            start = len(prompt(packaged)) - 1
            loss = cross_entropy(logits[start:], alone[0, start + 1 :], reduction="none")
            assert len(scores) == len(tokens) + 1
            torch.testing.assert_close(-scores, loss, rtol=1e-4, atol=1e-4)


def test_scoring_leaves_the_transcript_as_it_is(packaged: Whisper, speech: list[NDArray[np.float32]]) -> None:
    """Both use the keys and values that the first of them computed."""
    texts = [tokenize(packaged, sentence).ids for sentence in SENTENCES]
    with torch.no_grad():
        stream = run_blocks(packaged, embed(packaged, speech, 10 * 16_000))
        encoded = Encoded(packaged, stream)
        before = log_probabilities(packaged, encoded, texts)
        written = transcripts(packaged, encoded)
        after = log_probabilities(packaged, encoded, texts)
        assert written == transcripts(packaged, Encoded(packaged, stream))
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one, other)


def test_a_transcript_beyond_the_text_context_is_refused(tiny: Whisper) -> None:
    assert token_batch(tiny, [(1,) * 14]).shape == (1, 17)
    with pytest.raises(DataError, match="has 18 tokens, Whisper's decoder takes 16"):
        token_batch(tiny, [(1,) * 15])


@pytest.mark.parametrize(
    ("references", "hypotheses", "rate"),
    [
        (["seven", " Um, it is one hundred and five!"], [" 7.", "it's 105"], 0),
        (["the cat sat on the mat", "yes"], ["the cat sat the hat", "yes yes"], 3 / 7),  # one error of each kind
        (["no"], ["I do not know"], 4),
        (["", "good day"], ["hello", "good day"], 1 / 2),
    ],
    ids=["digits, case and punctuation", "pooled over words", "above one", "empty reference"],
)
def test_errors_are_counted_over_reference_words(references: list[str], hypotheses: list[str], rate: float) -> None:
    assert word_error_rate(references, hypotheses) == pytest.approx(rate)


def test_no_word_in_any_reference_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="no reference"):
        word_error_rate(["", "..."], ["a", "b"])
    with pytest.raises(ValueError, match="2 references"):
        word_error_rate(["a", "b"], ["a"])
