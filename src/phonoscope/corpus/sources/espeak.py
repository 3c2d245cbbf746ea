"""The default corpus: read sentences and isolated words, spoken by espeak-ng's voices and the neural voice.

The folder holds `sentences.txt`, `words.txt` (one a line), `speakers.csv` (speaker, voice, sex, accent, pitch, rate).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from phonoscope.compute import derive_seed
from phonoscope.config.corpus import CorpusConfig
from phonoscope.corpus.espeak import EspeakSpeech
from phonoscope.corpus.items import Audio, RawItem, Rejected
from phonoscope.corpus.piper import NeuralSpeech
from phonoscope.corpus.tables import read_lines, read_rows
from phonoscope.errors import DataError, ParamsError

RATE_SPREAD = 0.15
PITCH_SPREAD = 8


@dataclass(frozen=True)
class Speaker:
    """A synthetic speaker. `voice` is an espeak-ng voice, or empty for the neural voice."""

    name: str
    voice: str
    sex: str
    accent: str
    pitch: int
    rate: int

    def say(self, text: str, rate_factor: float = 1.0, pitch_shift: int = 0) -> Audio:
        """`text` at this speaker's rate times a factor, and pitch plus a shift."""
        rate = round(self.rate * rate_factor)
        if not self.voice:
            return NeuralSpeech(text, rate)
        pitch = min(max(self.pitch + pitch_shift, 0), 99)
        return EspeakSpeech(text, self.voice, rate, pitch)

    def item(self, chapter: str, number: str, audio: Audio, text: str, word: str = "") -> RawItem:
        name = f"{self.name}-{chapter}-{number}"
        return RawItem(name, self.name, chapter, name, audio, text, sex=self.sex, accent=self.accent, word=word)


NEURAL_SPEAKER = Speaker(name="joe", voice="", sex="M", accent="en-us", pitch=50, rate=170)


def read_speakers(path: Path) -> list[Speaker]:
    """Speakers of a `speakers.csv`. Raises `DataError` naming the row that cannot be used."""
    rows = read_rows(path, required=("speaker", "voice", "sex", "accent", "pitch", "rate"))
    speakers = []
    for number, row in enumerate(rows, start=2):
        try:
            pitch, rate = int(row["pitch"]), int(row["rate"])
        except ValueError as error:
            raise DataError(f"{path}:{number}: pitch and rate must be whole numbers ({error})") from error
        speakers.append(Speaker(row["speaker"], row["voice"], row["sex"], row["accent"], pitch, rate))
    return speakers


def deal(sentences: int, speakers: int, per_speaker: int, seed: int) -> list[list[int]]:
    """Deal sentence numbers to speakers: `speakers * per_speaker` readings in all, none twice by one speaker.

    Every sentence has as many readers as any other, give or take one.
    """
    order = np.random.default_rng(seed).permutation(sentences)
    hands: list[list[int]] = [[] for _ in range(speakers)]
    for reading in range(speakers * per_speaker):
        # round `turn` gives each sentence of the shuffled list to that neighbour of its first speaker
        place, turn = reading % sentences, reading // sentences
        hands[(place + turn) % speakers].append(int(order[place]))
    return [sorted(hand) for hand in hands]


def _word_items(speaker: Speaker, words: list[str], takes: int, seed: int) -> Iterator[RawItem]:
    for word, take in product(words, range(takes)):
        rng = np.random.default_rng(derive_seed(seed, speaker.name, word, take))
        rate_factor = rng.uniform(1 - RATE_SPREAD, 1 + RATE_SPREAD)
        pitch_shift = int(rng.integers(-PITCH_SPREAD, PITCH_SPREAD + 1))
        yield speaker.item("words", f"{word}_{take + 1}", speaker.say(word, rate_factor, pitch_shift), word, word)


def read(root: Path, config: CorpusConfig) -> Iterator[RawItem | Rejected]:
    """Utterances `<speaker>-sentences-<line>` and `<speaker>-words-<word>_<take>`.

    Raises: `DataError` if a file is missing or wrong; `ParamsError` if a speaker should read too many sentences.
    """
    sentences, words = read_lines(root / "sentences.txt"), read_lines(root / "words.txt")
    speakers = read_speakers(root / "speakers.csv") + [NEURAL_SPEAKER] * config.neural_voice
    asked, there = config.sentences_per_speaker, len(sentences)
    if asked > there:
        raise ParamsError(f"sentences_per_speaker: {asked} are asked for, but {root / 'sentences.txt'} has {there}")
    hands = deal(there, len(speakers), asked, derive_seed(config.seed, "sentences"))
    for speaker, hand in zip(speakers, hands, strict=True):
        for number in hand:
            text = sentences[number]
            yield speaker.item("sentences", f"{number + 1:03d}", speaker.say(text), text)
        yield from _word_items(speaker, words, config.takes, config.seed)
