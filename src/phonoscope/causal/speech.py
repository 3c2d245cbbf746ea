"""Eval speech of the causal tests: utterances with their words in frames, and with noise."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence
from copy import copy

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from phonoscope.causal.tables import LEAST
from phonoscope.causal.trials import NoisyTrial, Spoken, Word
from phonoscope.compute import derive_seed
from phonoscope.config.causal import CausalConfig
from phonoscope.errors import DataError, NotApplicable
from phonoscope.stats import evenly_spaced
from phonoscope.whisper.utterances import Utterance, read_16k

log = logging.getLogger(__name__)
Usable = tuple[Utterance, tuple[Word, ...]]


class TrialSpeech:
    """The eval utterances whose transcript and alignment have the same words."""

    def __init__(self, utterances: Sequence[Utterance], index: pd.DataFrame) -> None:
        """index: labels of the frames (utterance, frame, phone, word_index, split), see `whisper.collect`."""
        frames = dict(iter(index[index["split"] == "eval"].groupby("utterance", observed=True, sort=False)))
        self._voices = [one for one in utterances if one.split == "train"]
        aligned = [(one, _words(one.text, frames[one.name])) for one in utterances if one.name in frames]
        self._usable: list[Usable] = [(one, words) for one, words in aligned if words]
        if left := len(aligned) - len(self._usable):
            log.info("%d of %d eval utterances are left out: no words, or other than aligned", left, len(aligned))
        if len(self._usable) < 2:
            raise NotApplicable("fewer than two eval utterances have a transcript that fits their alignment; fix these")

    def __len__(self) -> int:
        return len(self._usable)

    def pool(self, count: int) -> list[Spoken]:
        """At most `count` of the utterances, evenly spaced."""
        return [_spoken(*pair) for pair in _spread(self._usable, count)]

    def only(self, names: Collection[str]) -> TrialSpeech:
        """The same with these eval utterances alone."""
        kept = copy(self)
        kept._usable = [pair for pair in self._usable if pair[0].name in names]
        return kept

    def with_phone(self, phone: str, config: CausalConfig) -> list[Spoken]:
        """Utterances with the phone, until `config.utterances` of them hold `config.words` words with it.

        One of each speaker in turn, in random order. Utterances that also have words without the phone come first: they
        serve the claims about both kinds of words.
        """
        holding = [(pair, [phone in word.phones for word in pair[1]]) for pair in self._usable]
        mixed = [pair for pair, has in holding if any(has) and not all(has)]
        pure = [pair for pair, has in holding if all(has)]
        taken: list[Spoken] = []
        words = 0
        for pair in _in_turns(mixed, config.seed) + _in_turns(pure, config.seed):
            if len(taken) >= config.utterances and words >= config.words:
                break
            taken.append(_spoken(*pair))
            words += sum(phone in word.phones for word in pair[1])
        return taken

    def noisy(self, config: CausalConfig) -> list[NoisyTrial]:
        """At most `config.utterances` utterances with noise, and a random target word of each.

        Utterances of several words are preferred: the frames of an only word are the whole utterance.
        """
        several = [pair for pair in self._usable if len(pair[1]) > 1]
        trials = []
        for one, words in _spread(several if len(several) >= LEAST else self._usable, config.utterances):
            # seeded by name: the noise of an utterance does not depend on which others are chosen
            rng = np.random.default_rng(derive_seed(config.seed, "noise", one.name))
            spoken, target = _spoken(one, words), int(rng.integers(len(words)))
            noise = self._noise(config, one, rng)
            trials.append(NoisyTrial(spoken, target, add_noise(spoken.samples_16k, noise, config.snr_db)))
        return trials

    def _noise(self, config: CausalConfig, utterance: Utterance, rng: np.random.Generator) -> NDArray[np.float32]:
        if config.noise == "white":
            return rng.standard_normal(utterance.samples).astype(np.float32)
        others = [one for one in self._voices if one.speaker != utterance.speaker] or self._voices
        talkers = rng.permutation(len(others))[: config.talkers]
        return babble([read_16k(others[number]) for number in talkers], utterance.samples, rng)


def babble(voices: Sequence[NDArray[np.float32]], samples: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Voices at once, equally loud, each repeated from a random position: [samples]. `DataError` without voices."""
    if not voices:
        raise DataError("no other utterances to make babble of; use white noise")
    mixed = np.zeros(samples, dtype=np.float64)
    for voice in voices:
        loudness = float(np.sqrt(np.mean(np.square(voice, dtype=np.float64))))
        mixed += np.resize(np.roll(voice, int(rng.integers(len(voice)))), samples) / max(loudness, 1e-9)
    return mixed.astype(np.float32)


def add_noise(speech: NDArray[np.float32], noise: NDArray[np.float32], snr_db: float) -> NDArray[np.float32]:
    """Speech plus noise scaled so that 10 log10 of the ratio of their energies is `snr_db`; both [samples]."""
    power = float(np.mean(np.square(speech, dtype=np.float64)))
    disturbance = float(np.mean(np.square(noise, dtype=np.float64)))
    # energy grows with the square of the amplitude, hence the root; bounded below for noise that is all zeros
    scale = np.sqrt(power / max(disturbance, 1e-20) / 10 ** (snr_db / 10))
    return (speech + scale * noise).astype(np.float32)


def _spread(pairs: list[Usable], count: int) -> list[Usable]:
    return [pairs[index] for index in evenly_spaced(len(pairs), count, "parts")]


def _in_turns(pairs: list[Usable], seed: int) -> list[Usable]:
    """One utterance of each speaker, then the second of each, and so on; in random order otherwise."""
    turns: Counter[str] = Counter()
    order = []
    for pair in sorted(pairs, key=lambda pair: derive_seed(seed, "order", pair[0].name)):
        order.append((turns[pair[0].speaker], pair))
        turns[pair[0].speaker] += 1
    return [pair for _, pair in sorted(order, key=lambda one: one[0])]


def _spoken(utterance: Utterance, words: tuple[Word, ...]) -> Spoken:
    return Spoken(utterance.name, utterance.speaker, utterance.text, read_16k(utterance), words)


def _words(text: str, frames: pd.DataFrame) -> tuple[Word, ...]:
    """The words of a transcript with their frames and phones; none if the alignment has another number of words."""
    written = [number for number, word in enumerate(text.split()) if any(map(str.isalnum, word))]
    if len(written) != frames["word_index"].max() + 1:
        return ()
    words = []  # a word shorter than a frame may have no rows
    for _, rows in frames[frames["word_index"] >= 0].groupby("word_index"):
        span = int(rows["frame"].min()), int(rows["frame"].max()) + 1
        words.append(Word(*span, frozenset(rows["phone"].astype(str)), written[rows["word_index"].iloc[0]]))
    return tuple(words)
