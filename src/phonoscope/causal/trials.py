"""Trials: features ablated and steered while Whisper listens, and clean activations patched into noisy speech."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.config.sites import Site
from phonoscope.config.whisper import Normalize
from phonoscope.whisper.model import Whisper
from phonoscope.whisper.patching import Speech, activations, first_block, run_patched, site_rows, speech_batches
from phonoscope.whisper.sites import Normaliser, outputs, site_layers, substitute
from phonoscope.whisper.transcript import word_errors

if TYPE_CHECKING:
    from torch import Tensor

    from phonoscope.sae import SparseAutoencoder
    from phonoscope.whisper.patching import Outcome


class Setting(NamedTuple):
    """Model, site and dictionary that all trials of a run share."""

    whisper: Whisper
    site: Site
    dictionary: SparseAutoencoder
    normalize: Normalize
    context_s: float

    def speech(self, spoken: Sequence[Spoken], samples_16k: Sequence[NDArray[np.float32]]) -> Iterator[Speech]:
        texts = [one.text for one in spoken]
        return speech_batches(self.whisper, samples_16k, texts, context_s=self.context_s)


class Intervention:
    """An encoder site of one batch of speech, with the features of a dictionary on its frames."""

    def __init__(self, speech: Speech, setting: Setting) -> None:
        self.speech, self.site, self._dictionary = speech, setting.site, setting.dictionary
        self._points = outputs(speech.whisper, self.site)
        self._normaliser = Normaliser(speech.whisper, self.site, setting.normalize)
        values, _, self._deviation = site_rows(speech, self.site, setting.normalize)
        self._features = self._dictionary.encode(values)
        self._raw = [states[speech.mask] for states in activations(speech, self.site, self._points)]

    def contribution(self, features: Sequence[int]) -> list[Tensor]:
        """Contribution of features to the raw activations of every frame: [frames, width] for each output point."""
        chosen = list(features)
        # the decoder is linear: what these features add is their part of the product, whatever the others are
        return self._raw_change(self._features[:, chosen] @ self._dictionary.W_dec[chosen])

    def steering(self, feature: int, length: float) -> list[Tensor]:
        """A change of every frame along a feature's direction, `length` long in the units of the site's features."""
        direction = self._dictionary.W_dec[feature]
        direction = direction / direction.norm().clamp(min=1e-12) * length
        return self._raw_change(direction.expand(len(self._features), -1))

    def run(self, change: Sequence[Tensor]) -> Outcome:
        """Whisper's output with a change added to the site's frames."""
        # added to the activations, not to the reconstruction: the dictionary's error stays as it is in the clean run
        values = [raw + part for raw, part in zip(self._raw, change, strict=True)]
        patches = {point: substitute(part, self.speech.mask) for point, part in zip(self._points, values, strict=True)}
        return run_patched(self.speech, patches, first_block(self.site))

    def _raw_change(self, change: Tensor) -> list[Tensor]:
        pieces = change.chunk(len(self._points), dim=1)
        return [self._normaliser.unscale(piece, self._deviation[:, i]) for i, piece in enumerate(pieces)]


def patch_clean(clean: Speech, noisy: Speech, site: Site, where: Tensor) -> Outcome:
    """Whisper's output for noisy speech with the clean activations of a site where `where` [utterances, positions] is
    true; the speech of both must be in the same windows.
    """
    points = outputs(noisy.whisper, site)
    states = activations(clean, site, points)
    patches = {point: substitute(part[where], where) for point, part in zip(points, states, strict=True)}
    return run_patched(noisy, patches, first_block(site))


def word_mask(speech: Speech, spans: Sequence[tuple[int, int]]) -> Tensor:
    """Positions of one span of frames [start, end) of each utterance, cut to its speech: [utterances, positions]."""
    import torch

    mask = torch.zeros_like(speech.mask)
    for row, (start, end) in zip(mask, spans, strict=True):
        row[max(0, start) : end] = True
    return mask & speech.mask


class Word(NamedTuple):
    """A word of an utterance: its frames [start, end) of 20 ms, and its phones."""

    start: int
    end: int
    phones: frozenset[str]
    number: int  # index into `text.split()`


class Spoken(NamedTuple):
    """An utterance of a trial."""

    name: str
    text: str
    samples_16k: NDArray[np.float32]
    words: tuple[Word, ...]


class NoisyTrial(NamedTuple):
    """An utterance, the index of its target word in `words`, and its samples at 16 kHz with noise."""

    spoken: Spoken
    target: int
    noisy_16k: NDArray[np.float32]


class Row(NamedTuple):
    """Result of one condition for one utterance."""

    utterance: str
    condition: str
    target: float  # summed log-probability of the target words, in nats
    targets: int
    other: float  # of the other words
    others: int
    errors: int
    words: int  # of the reference


def feature_trial(
    setting: Setting, spoken: Sequence[Spoken], phone: str, feature: int, control: int, length: float
) -> list[Row]:
    """Ablate a feature, and steer along it; the same with a control feature.

    Conditions: `clean`, `ablate`, `ablate_control`, `steer`, `steer_control`. Ablating takes the feature's contribution
    off every frame; steering adds its direction, `length` long. Target words are those with the phone.
    """
    targets = {one.name: [word.number for word in one.words if phone in word.phones] for one in spoken}
    rows: list[Row] = []
    for speech in setting.speech(spoken, [one.samples_16k for one in spoken]):
        test = Intervention(speech, setting)
        outcomes = {"clean": run_patched(speech, {})}
        for name, number in (("", feature), ("_control", control)):
            outcomes[f"ablate{name}"] = test.run([-part for part in test.contribution([number])])
            outcomes[f"steer{name}"] = test.run(test.steering(number, length))
        rows += _rows(speech, spoken, outcomes, targets)
    return rows


def patching_trial(
    setting: Setting, trials: Sequence[NoisyTrial], features: Sequence[int], controls: Sequence[int]
) -> list[Row]:
    """Clean activations put into noisy speech, part by part.

    Conditions: `clean`, `noisy`; `word.encoder_<n>`: the frames of the target word in the stream after the site's
    block; `elsewhere.encoder_<n>`, its control: as many frames beside the word; `attention_<n>` and `mlp_<n>`: what
    that part of the block adds, on all speech frames; `features` and `features_control`: the contribution of some
    features, on all speech frames. A whole layer would be the clean run.
    """
    spoken, targets, noisy = zip(*trials, strict=True)
    chosen = [one.words[target] for one, target in zip(spoken, targets, strict=True)]
    numbers = {one.name: [word.number] for one, word in zip(spoken, chosen, strict=True)}
    rows: list[Row] = []
    pairs = zip(setting.speech(spoken, [one.samples_16k for one in spoken]), setting.speech(spoken, noisy), strict=True)
    for clean, noise in pairs:  # of one length, so the same utterances share a batch
        words = [chosen[number] for number in clean.numbers]
        inside, beside = [word[:2] for word in words], [_beside(word) for word in words]
        masks = {"word": word_mask(noise, inside), "elsewhere": word_mask(noise, beside)}
        outcomes = {"clean": run_patched(clean, {}), "noisy": run_patched(noise, {})}
        for condition, part in _parts(setting):
            outcomes[condition] = patch_clean(clean, noise, part, masks.get(condition.split(".")[0], noise.mask))
        there, here = Intervention(clean, setting), Intervention(noise, setting)
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
    for layer in site_layers(setting.whisper, setting.site):
        stream = Site("encoder", layer)
        yield f"word.{stream}", stream
        yield f"elsewhere.{stream}", stream
        if layer:  # the embeddings are no block
            for part in (Site("attention", layer), Site("mlp", layer)):
                yield part.name, part


def _rows(
    speech: Speech, spoken: Sequence[Spoken], outcomes: Mapping[str, Outcome], targets: Mapping[str, Collection[int]]
) -> Iterator[Row]:
    """Score every utterance of a batch under every condition; `targets`: numbers of the target words by utterance."""
    for condition, (log_probs, texts) in outcomes.items():
        for number, tokens, values, text in zip(speech.numbers, speech.tokens, log_probs, texts, strict=True):
            one = spoken[number]
            by_word = dict.fromkeys((word.number for word in one.words), 0.0)
            for word, log_prob in zip(tokens.words, values.tolist(), strict=False):  # the end is no word
                if word in by_word:
                    by_word[word] += log_prob
            target = [value for word, value in by_word.items() if word in targets[one.name]]
            other = [value for word, value in by_word.items() if word not in targets[one.name]]
            sums = sum(target), len(target), sum(other), len(other)
            yield Row(one.name, condition, *sums, *word_errors(one.text, text))
