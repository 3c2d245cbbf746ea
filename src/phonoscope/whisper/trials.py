"""Trials: what Whisper makes of each utterance under every condition, a row an utterance and condition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from phonoscope.whisper.interventions import Dictionary, Intervention, hear_part, word_mask
from phonoscope.whisper.listen import Heard, Speech, hear, speech_batches
from phonoscope.whisper.model import Whisper
from phonoscope.whisper.sites import Site, find_site
from phonoscope.whisper.wer import word_errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from phonoscope.config.whisper import Normalize


class Word(NamedTuple):
    """A word of an utterance: the frames [start, end) of 20 ms in which it is said, and its phones."""

    start: int
    end: int
    phones: frozenset[str]
    number: int
    """Which of `text.split()` it is."""


@dataclass(frozen=True)
class Spoken:
    """An utterance that is put to the test."""

    name: str
    text: str
    samples_16k: NDArray[np.float32]
    words: tuple[Word, ...]


class Row(NamedTuple):
    """What one condition did to one utterance."""

    utterance: str
    condition: str
    target: float
    """Sum of the target words' log-probabilities, in nats."""
    targets: int
    """How many words these are."""
    other: float
    """The same of the other words."""
    others: int
    errors: int
    """Wrong words of the transcript, of so many in the reference."""
    words: int


@dataclass(frozen=True)
class Setting:
    """What all trials of a run share."""

    whisper: Whisper
    site: str
    dictionary: Dictionary
    normalize: Normalize
    context_s: float


Targets = Callable[[Spoken, Word], bool]


def feature_trial(
    setting: Setting, spoken: Sequence[Spoken], phone: str, feature: int, control: int, length: float
) -> list[Row]:
    """Ablate a feature, and steer by it; and the same with a control feature.

    Conditions: `clean`, `ablate`, `ablate_control`, `steer`, `steer_control`. Ablating takes the feature's contribution
    off every frame; steering adds its direction to every frame, `length` long in the units of features.npy, the
    control's as long. Target words are those with the phone.
    """
    place = find_site(setting.whisper, setting.site)

    def hit(_spoken: Spoken, word: Word) -> bool:
        return phone in word.phones

    rows = []
    for speech in _speech(setting, spoken):
        test = Intervention(speech, place, setting.dictionary, setting.normalize)
        rows += _rows(speech, spoken, hear(speech, {}, len(speech.streams) - 1), "clean", hit)
        for name, number in (("", feature), ("_control", control)):
            ablated = [-part for part in test.contribution([number])]
            rows += _rows(speech, spoken, test.hear(ablated), f"ablate{name}", hit)
            rows += _rows(speech, spoken, test.hear(test.steering(number, length)), f"steer{name}", hit)
    return rows


def patching_trial(
    setting: Setting,
    spoken: Sequence[Spoken],
    noisy: Sequence[NDArray[np.float32]],
    targets: Sequence[int],
    features: Sequence[int],
    controls: Sequence[int],
) -> list[Row]:
    """Clean activations put into noisy speech, part by part.

    Conditions: `clean`, `noisy`; `word.encoder_<n>`: the frames of the target word in the stream after the site's
    block; `elsewhere.encoder_<n>`, its control: as many frames beside the word; `attention_<n>` and `mlp_<n>`: what
    that part of the block adds, on all speech frames; `features` and `features_control`: the contribution of some
    features, on all speech frames. A whole layer would be the clean run.

    Args:
        noisy: the same utterances with noise, as long as `spoken`'s.
        targets: of each utterance the position in `Spoken.words` of its target word.
    """
    place = find_site(setting.whisper, setting.site)
    chosen = {one.name: one.words[target] for one, target in zip(spoken, targets, strict=True)}

    def hit(one: Spoken, word: Word) -> bool:
        return word == chosen[one.name]

    rows = []
    pairs = zip(_speech(setting, spoken), _speech(setting, spoken, noisy), strict=True)
    for clean, noise in pairs:
        last = len(clean.streams) - 1
        rows += _rows(clean, spoken, hear(clean, {}, last), "clean", hit)
        rows += _rows(noise, spoken, hear(noise, {}, last), "noisy", hit)
        words = [chosen[spoken[number].name] for number in clean.numbers]
        masks = {
            "word": word_mask(noise, [word[:2] for word in words]),
            "elsewhere": word_mask(noise, [_beside(word) for word in words]),
        }
        for condition, part in _parts(place):
            where = masks.get(condition.split(".")[0], noise.mask)
            rows += _rows(noise, spoken, hear_part(clean, noise, part, where), condition, hit)
        there, here = (Intervention(one, place, setting.dictionary, setting.normalize) for one in (clean, noise))
        for condition, group in (("features", features), ("features_control", controls)):
            change = [new - old for new, old in zip(there.contribution(group), here.contribution(group), strict=True)]
            rows += _rows(noise, spoken, here.hear(change), condition, hit)
    return rows


def _speech(
    setting: Setting, spoken: Sequence[Spoken], samples_16k: Sequence[NDArray[np.float32]] | None = None
) -> Iterator[Speech]:
    audio = [one.samples_16k for one in spoken] if samples_16k is None else samples_16k
    return speech_batches(setting.whisper, audio, [one.text for one in spoken], context_s=setting.context_s)


def _beside(word: Word) -> tuple[int, int]:
    """As many frames as a word has, right before it, or after it where there are too few before."""
    frames = word.end - word.start
    return (word.start - frames, word.start) if frames <= word.start else (word.end, word.end + frames)


def _parts(site: Site) -> Iterator[tuple[str, str]]:
    """The conditions and sites of the parts of a site's blocks."""
    for layer in site.layers:
        yield f"word.encoder_{layer}", f"encoder_{layer}"
        yield f"elsewhere.encoder_{layer}", f"encoder_{layer}"
        if layer:  # the embeddings are no block
            yield f"attention_{layer}", f"attention_{layer}"
            yield f"mlp_{layer}", f"mlp_{layer}"


def _rows(speech: Speech, spoken: Sequence[Spoken], heard: Heard, condition: str, hit: Targets) -> list[Row]:
    """Score every utterance of a batch."""
    found = []
    for at, number in enumerate(speech.numbers):
        one, tokens = spoken[number], speech.tokens[at]
        by_word = dict.fromkeys((word.number for word in one.words), 0.0)
        for word, log_prob in zip(tokens.words, heard.log_probs[at].tolist(), strict=False):  # the end is no word
            if word in by_word:
                by_word[word] += log_prob
        sides = {side: [by_word[word.number] for word in one.words if hit(one, word) == side] for side in (True, False)}
        errors, words = word_errors(one.text, heard.texts[at])
        found.append(
            Row(
                one.name,
                condition,
                sum(sides[True]),
                len(sides[True]),
                sum(sides[False]),
                len(sides[False]),
                errors,
                words,
            )
        )
    return found
