"""The eval speech that causal tests listen to: utterances with their words in frames, and with noise."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phonoscope.causal.tables import LEAST
from phonoscope.compute import derive_seed
from phonoscope.config.causal import CausalConfig
from phonoscope.errors import DataError
from phonoscope.pipeline.features_io import read_features
from phonoscope.pipeline.listening import Utterance, read_16k, spread, utterances
from phonoscope.whisper.noise import add_noise, babble, white_noise
from phonoscope.whisper.trials import Spoken, Word

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

log = logging.getLogger(__name__)


class Noisy(NamedTuple):
    """Utterances, the same with noise, and of each the word that is looked at."""

    spoken: list[Spoken]
    samples_16k: list[NDArray[np.float32]]
    targets: list[int]


class TrialSpeech:
    """The eval utterances whose transcript and alignment have the same words."""

    def __init__(self, site: str) -> None:
        index = read_features(site).index
        frames = dict(iter(index[index["split"] == "eval"].groupby("utterance", observed=True, sort=False)))
        every = utterances()
        self._voices = [one for one in every if one.split == "train"]
        found = [(one, _words(one.text, frames[one.name])) for one in every if one.name in frames]
        self._usable: list[tuple[Utterance, tuple[Word, ...]]] = [(one, words) for one, words in found if words]
        if len(self._usable) < len(found):
            left = len(found) - len(self._usable)
            log.info("%d of %d eval utterances are left out: no words, or other ones than aligned", left, len(found))
        if len(self._usable) < 2:
            raise DataError("fewer than two eval utterances have a transcript that fits their alignment; mend those")

    def with_phone(self, phone: str, count: int) -> list[Spoken]:
        """At most `count` utterances with the phone in one of their words, spread evenly.

        Those that have other words too come first: they serve both the claim about words with the phone and the one
        about words without it.
        """
        holding = [[phone in word.phones for word in words] for _, words in self._usable]
        mixed, pure = (
            [pair for pair, has in zip(self._usable, holding, strict=True) if any(has) and all(has) == only]
            for only in (False, True)
        )
        chosen = spread(mixed, count)
        chosen += spread(pure, count - len(chosen))
        return [_spoken(*pair) for pair in chosen]

    def noisy(self, config: CausalConfig) -> Noisy:
        """At most `causal.utterances` utterances with noise, and one word of each, drawn at random.

        Of several words, where there are such utterances: the frames of an only word are the whole utterance.
        """
        several = [pair for pair in self._usable if len(pair[1]) > 1]
        chosen = spread(several if len(several) >= LEAST else self._usable, config.utterances)
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
