"""Trials: Whisper's output for each utterance under every condition, a row an utterance and condition."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from phonoscope.causal.interventions import Intervention, patch_clean, word_mask
from phonoscope.config.sites import Site
from phonoscope.whisper.model import Whisper
from phonoscope.whisper.patching import Outcome, Speech, run_patched, speech_batches
from phonoscope.whisper.sites import site_layers
from phonoscope.whisper.wer import word_errors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from phonoscope.config.whisper import Normalize
    from phonoscope.sae import SparseAutoencoder


class Word(NamedTuple):
    """A word of an utterance: its frames [start, end) of 20 ms, and its phones."""

    start: int
    end: int
    phones: frozenset[str]
    number: int
    """Index into `text.split()`."""


@dataclass(frozen=True)
class Spoken:
    """An utterance of a trial."""

    name: str
    text: str
    samples_16k: NDArray[np.float32]
    words: tuple[Word, ...]


class Row(NamedTuple):
    """Result of one condition for one utterance."""

    utterance: str
    condition: str
    target: float
    """Sum of the target words' log-probabilities, in nats."""
    targets: int
    """Number of target words."""
    other: float
    """Sum of the other words' log-probabilities."""
    others: int
    """Number of other words."""
    errors: int
    """Word errors of the transcript."""
    words: int
    """Words of the reference."""


@dataclass(frozen=True)
class Setting:
    """Model, site and dictionary that all trials of a run share."""

    whisper: Whisper
    site: Site
    dictionary: SparseAutoencoder
    normalize: Normalize
    context_s: float

    def speech(self, spoken: Sequence[Spoken], samples_16k: Sequence[NDArray[np.float32]]) -> Iterator[Speech]:
        texts = [one.text for one in spoken]
        return speech_batches(self.whisper, samples_16k, texts, context_s=self.context_s)

    def intervention(self, speech: Speech) -> Intervention:
        return Intervention(speech, self.site, self.dictionary, self.normalize)


def feature_trial(
    setting: Setting, spoken: Sequence[Spoken], phone: str, feature: int, control: int, length: float
) -> list[Row]:
    """Ablate a feature, and steer along it; the same with a control feature.

    Conditions: `clean`, `ablate`, `ablate_control`, `steer`, `steer_control`. Ablating takes the feature's contribution
    off every frame; steering adds its direction to every frame, `length` long in the units of the site's features, the
    control's as long. Target words are those with the phone.
    """
    targets = {one.name: [word.number for word in one.words if phone in word.phones] for one in spoken}
    rows = []
    for speech in setting.speech(spoken, [one.samples_16k for one in spoken]):
        test = setting.intervention(speech)
        outcomes = {"clean": run_patched(speech, {})}
        for name, number in (("", feature), ("_control", control)):
            outcomes[f"ablate{name}"] = test.run([-part for part in test.contribution([number])])
            outcomes[f"steer{name}"] = test.run(test.steering(number, length))
        rows += _rows(speech, spoken, outcomes, targets)
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
        targets: index of each utterance's target word in `Spoken.words`.
    """
    chosen = [one.words[target] for one, target in zip(spoken, targets, strict=True)]
    numbers = {one.name: [word.number] for one, word in zip(spoken, chosen, strict=True)}
    rows = []
    pairs = zip(setting.speech(spoken, [one.samples_16k for one in spoken]), setting.speech(spoken, noisy), strict=True)
    for clean, noise in pairs:  # of one length, so the same utterances share a batch
        words = [chosen[number] for number in clean.numbers]
        masks = {
            "word": word_mask(noise, [word[:2] for word in words]),
            "elsewhere": word_mask(noise, [_beside(word) for word in words]),
        }
        outcomes = {"clean": run_patched(clean, {}), "noisy": run_patched(noise, {})}
        for condition, part in _parts(setting):
            where = masks.get(condition.split(".")[0], noise.mask)
            outcomes[condition] = patch_clean(clean, noise, part, where)
        there, here = setting.intervention(clean), setting.intervention(noise)
        for condition, group in (("features", features), ("features_control", controls)):
            change = [new - old for new, old in zip(there.contribution(group), here.contribution(group), strict=True)]
            outcomes[condition] = here.run(change)
        rows += _rows(clean, spoken, outcomes, numbers)
    return rows


def _beside(word: Word) -> tuple[int, int]:
    """As many frames as the word has, right before it, or after it where there are too few before."""
    frames = word.end - word.start
    return (word.start - frames, word.start) if frames <= word.start else (word.end, word.end + frames)


def _parts(setting: Setting) -> Iterator[tuple[str, Site]]:
    """Conditions and sites of the parts of the site's blocks."""
    for layer in site_layers(setting.whisper, setting.site):
        stream = Site("encoder", layer)
        yield f"word.{stream}", stream
        yield f"elsewhere.{stream}", stream
        if layer:  # the embeddings are no block
            for part in (Site("attention", layer), Site("mlp", layer)):
                yield part.name, part


def _rows(
    speech: Speech,
    spoken: Sequence[Spoken],
    outcomes: Mapping[str, Outcome],
    targets: Mapping[str, Collection[int]],
) -> Iterator[Row]:
    """Score every utterance of a batch under every condition; `targets`: numbers of the target words by utterance."""
    for condition, (log_probs, texts) in outcomes.items():
        for number, tokens, values, text in zip(speech.numbers, speech.tokens, log_probs, texts, strict=True):
            one = spoken[number]
            by_word = dict.fromkeys((word.number for word in one.words), 0.0)
            for word, log_prob in zip(tokens.words, values.tolist(), strict=False):  # the end is no word
                if word in by_word:
                    by_word[word] += log_prob
            target, other = (
                [value for word, value in by_word.items() if (word in targets[one.name]) == side]
                for side in (True, False)
            )
            sums = sum(target), len(target), sum(other), len(other)
            yield Row(one.name, condition, *sums, *word_errors(one.text, text))
