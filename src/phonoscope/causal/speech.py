"""Eval speech of the causal tests: utterances with their words in frames, and with noise."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phonoscope.causal.noise import add_noise, babble, white_noise
from phonoscope.causal.tables import LEAST
from phonoscope.causal.trials import Spoken, Word
from phonoscope.compute import derive_seed
from phonoscope.config.causal import CausalConfig
from phonoscope.errors import DataError
from phonoscope.stats import evenly_spaced
from phonoscope.whisper.utterances import Utterance, read_16k

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

log = logging.getLogger(__name__)


class Noisy(NamedTuple):
    """Utterances, the same with noise, and the target word of each."""

    spoken: list[Spoken]
    samples_16k: list[NDArray[np.float32]]
    targets: list[int]


class TrialSpeech:
    """The eval utterances whose transcript and alignment have the same words."""

    def __init__(self, utterances: Sequence[Utterance], index: pd.DataFrame) -> None:
        """index: labels of the frames (utterance, frame, phone, word_index, split), see `whisper.index`."""
        frames = dict(iter(index[index["split"] == "eval"].groupby("utterance", observed=True, sort=False)))
        self._voices = [one for one in utterances if one.split == "train"]
        aligned = [(one, _words(one.text, frames[one.name])) for one in utterances if one.name in frames]
        self._usable: list[tuple[Utterance, tuple[Word, ...]]] = [(one, words) for one, words in aligned if words]
        if len(self._usable) < len(aligned):
            left = len(aligned) - len(self._usable)
            log.info("%d of %d eval utterances are left out: no words, or other than aligned", left, len(aligned))
        if len(self._usable) < 2:
            raise DataError("fewer than two eval utterances have a transcript that fits their alignment; fix these")

    def with_phone(self, phone: str, count: int) -> list[Spoken]:
        """At most `count` utterances with the phone in one of their words, evenly spaced.

        Utterances that also have words without the phone come first: they serve the claims about both kinds of words.
        """
        holding = [[phone in word.phones for word in words] for _, words in self._usable]
        mixed, pure = (
            [pair for pair, has in zip(self._usable, holding, strict=True) if any(has) and all(has) == only]
            for only in (False, True)
        )
        chosen = _spread(mixed, count)
        return [_spoken(*pair) for pair in chosen + _spread(pure, count - len(chosen))]

    def noisy(self, config: CausalConfig) -> Noisy:
        """At most `config.utterances` utterances with noise, and a random target word of each.

        Utterances of several words are preferred: the frames of an only word are the whole utterance.
        """
        several = [pair for pair in self._usable if len(pair[1]) > 1]
        chosen = _spread(several if len(several) >= LEAST else self._usable, config.utterances)
        spoken = [_spoken(*pair) for pair in chosen]
        rngs = [np.random.default_rng(derive_seed(config.seed, "noise", one.name)) for one, _ in chosen]
        targets = [int(rng.integers(len(words))) for rng, (_, words) in zip(rngs, chosen, strict=True)]
        samples = [
            add_noise(clean.samples_16k, self._noise(config, one, rng), config.snr_db)
            for clean, (one, _), rng in zip(spoken, chosen, rngs, strict=True)
        ]
        return Noisy(spoken, samples, targets)

    def _noise(self, config: CausalConfig, utterance: Utterance, rng: np.random.Generator) -> NDArray[np.float32]:
        if config.noise == "white":
            return white_noise(utterance.samples, rng)
        others = [one for one in self._voices if one.speaker != utterance.speaker] or self._voices
        talkers = rng.permutation(len(others))[: config.talkers]
        return babble([read_16k(others[number]) for number in talkers], utterance.samples, rng)


Usable = tuple[Utterance, tuple[Word, ...]]


def _spread(pairs: list[Usable], count: int) -> list[Usable]:
    return [pairs[index] for index in evenly_spaced(len(pairs), count, "parts")]


def _spoken(utterance: Utterance, words: tuple[Word, ...]) -> Spoken:
    return Spoken(utterance.name, utterance.text, read_16k(utterance), words)


def _words(text: str, frames: pd.DataFrame) -> tuple[Word, ...]:
    """The words of a transcript with their frames and phones; none if the alignment has another number of words."""
    written = [number for number, word in enumerate(text.split()) if any(map(str.isalnum, word))]
    if len(written) != frames["word_index"].max() + 1:
        return ()
    words = []
    for index, number in enumerate(written):
        rows = frames[frames["word_index"] == index]
        if len(rows):  # a word shorter than a frame may have none
            span = int(rows["frame"].min()), int(rows["frame"].max()) + 1
            words.append(Word(*span, frozenset(rows["phone"].astype(str)), number))
    return tuple(words)
