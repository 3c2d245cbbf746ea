"""Trials: features ablated and steered while Whisper listens, and clean activations patched into noisy speech."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.compute import derive_seed
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

CANDIDATES = 20  # features with the most like energy, from which controls are drawn
COPY = 0.5  # cosine from which a feature's direction is a near copy of another's


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

    def contribution(self, features: Sequence[int], rows: Tensor | None = None) -> list[Tensor]:
        """Contribution of features to the raw activations of every frame: [frames, width] for each output point.

        `rows` [features, outputs] stand in for their rows of the decoder.
        """
        chosen = list(features)
        rows = self._dictionary.W_dec[chosen] if rows is None else rows
        # the decoder is linear: what these features add is their part of the product, whatever the others are
        return self._raw_change(self._features[:, chosen] @ rows)

    def steering(self, direction: Tensor) -> list[Tensor]:
        """A change of every frame by a direction [outputs], in the units of the site's features."""
        return self._raw_change(direction.expand(len(self._features), -1))

    def run(self, change: Sequence[Tensor], *, transcribe: bool = True) -> Outcome:
        """Whisper's output with a change added to the site's frames."""
        # added to the activations, not to the reconstruction: the dictionary's error stays as it is in the clean run
        values = [raw + part for raw, part in zip(self._raw, change, strict=True)]
        patches = {point: substitute(part, self.speech.mask) for point, part in zip(self._points, values, strict=True)}
        return run_patched(self.speech, patches, first_block(self.site), transcribe=transcribe)

    def raw_rows(self) -> Tensor:
        """The decoder's rows in raw activations of deviation 1, [features, points, width]."""
        import torch

        pieces = self._dictionary.W_dec.chunk(len(self._points), dim=1)
        return torch.stack([piece * self._scale(piece.shape[1]) for piece in pieces], dim=1)

    def from_raw(self, rows: Tensor) -> Tensor:
        """Raw directions [n, points, width] in the units of the site's features, [n, outputs]."""
        return (rows / self._scale(rows.shape[2])).flatten(1)

    def energies(self, feature: int, lengths: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """The smaller and the larger energy of a feature and each other one, summed over frames, both [features].

        lengths: of every raw row, [features, points]. where: positions [utterances, positions] that count.
        """
        import torch

        frames = where[self.speech.mask]
        energy = self._features[frames] ** 2 * (self._deviation[frames] ** 2 @ (lengths**2).T)
        one = energy[:, [feature]]
        return torch.minimum(energy, one).sum(dim=0), torch.maximum(energy, one).sum(dim=0)

    def _scale(self, width: int) -> Tensor:
        """Change of raw activations for a change by 1 in the units of the site's features, at deviation 1: [width]."""
        ones = self._dictionary.W_dec.new_ones(width)
        return self._normaliser.unscale(ones, ones[0])

    def _raw_change(self, change: Tensor) -> list[Tensor]:
        pieces = change.chunk(len(self._points), dim=1)
        return [self._normaliser.unscale(piece, self._deviation[:, i]) for i, piece in enumerate(pieces)]


class Controls(NamedTuple):
    """How a feature's controls are drawn."""

    draws: int
    barred: Collection[int]  # features that are no controls
    seed: int


class Control(NamedTuple):
    """A direction in the place of a feature's, as long in the raw activations."""

    name: str  # random, or the number of another feature
    row: Tensor  # [outputs]


def draw_controls(
    tests: Sequence[Intervention], where: Sequence[Tensor], feature: int, controls: Controls
) -> list[Control]:
    """Directions in the place of a feature's: random ones, and those of other features active on the same frames.

    The other features, at most half of the controls, are drawn from the `CANDIDATES` whose energy on the frames `where`
    [utterances, positions] is most like the feature's. Near copies of the feature are left out. Whatever is done along
    a control's direction by the feature's activations changes the same frames by the same length.
    """
    import torch

    rows = tests[0].raw_rows()
    lengths = rows.norm(dim=2)
    sums = [torch.stack(test.energies(feature, lengths, mask)) for test, mask in zip(tests, where, strict=True)]
    shared, either = torch.stack(sums).sum(dim=0)
    alike = shared / either.clamp(min=1e-12)
    flat = torch.nn.functional.normalize(rows.flatten(1), dim=1)
    alike[(flat @ flat[feature]).abs() >= COPY] = 0
    alike[list(controls.barred)] = 0
    near = [other for other in alike.argsort(descending=True, stable=True)[:CANDIDATES].tolist() if alike[other] > 0]
    rng = np.random.default_rng(derive_seed(controls.seed, "controls", feature))
    others = rng.permutation(near)[: controls.draws // 2].astype(int).tolist()
    noise = rng.standard_normal((controls.draws - len(others), *rows.shape[1:]))
    directions = torch.cat([torch.as_tensor(noise, dtype=rows.dtype, device=rows.device), rows[others]])
    scaled = torch.nn.functional.normalize(directions, dim=2) * lengths[feature][:, None]
    names = ["random"] * len(noise) + [str(other) for other in others]
    return [Control(*pair) for pair in zip(names, tests[0].from_raw(scaled), strict=True)]


def patch_clean(clean: Speech, noisy: Speech, site: Site, where: Tensor) -> Outcome:
    """Whisper's output for noisy speech with the clean activations of a site where `where` [utterances, positions] is
    true; the speech of both must be in the same windows.
    """
    points = outputs(noisy.whisper, site)
    states = activations(clean, site, points)
    patches = {point: substitute(part[where], where) for point, part in zip(points, states, strict=True)}
    return run_patched(noisy, patches, first_block(site))


def word_mask(speech: Speech, spans: Sequence[Sequence[tuple[int, int]]]) -> Tensor:
    """Positions of spans of frames [start, end) of each utterance, cut to its speech: [utterances, positions]."""
    import torch

    mask = torch.zeros_like(speech.mask)
    for row, words in zip(mask, spans, strict=True):
        for start, end in words:
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
    speaker: str
    text: str
    samples_16k: NDArray[np.float32]
    words: tuple[Word, ...]


class NoisyTrial(NamedTuple):
    """An utterance, the index of its target word in `words`, and its samples at 16 kHz with noise."""

    spoken: Spoken
    target: int
    noisy_16k: NDArray[np.float32]


class Condition(NamedTuple):
    """What was done to the speech; `draw` 1, 2, ... are the controls of the same intervention, 0 is not a control."""

    name: str
    draw: int = 0
    control: str = ""


class Row(NamedTuple):
    """Result of one condition for one utterance."""

    utterance: str
    speaker: str
    condition: str
    draw: int
    control: str
    target: float  # summed log-probability of the target words, in nats
    targets: int
    other: float  # of the other words
    others: int
    errors: int  # 0 of 0 words where nothing was transcribed, as with controls
    words: int  # of the reference


def clean_trial(setting: Setting, spoken: Sequence[Spoken]) -> list[Row]:
    """What Whisper makes of unchanged speech: condition `clean`, with no word as target."""
    nothing: dict[str, list[int]] = {one.name: [] for one in spoken}
    rows: list[Row] = []
    for speech in setting.speech(spoken, [one.samples_16k for one in spoken]):
        rows += _rows(speech, spoken, {Condition("clean"): run_patched(speech, {})}, nothing)
    return rows


def feature_trial(
    setting: Setting, spoken: Sequence[Spoken], feature: int, phone: str, length: float, controls: Controls
) -> list[Row]:
    """Ablate a feature, and steer along it; the same with its controls.

    Conditions: `clean`, `ablate`, `steer`. Ablating takes the feature's contribution off every frame; steering adds its
    direction, `length` long. Target words are those with the phone. Controls are not transcribed.
    """
    chosen = {one.name: [word for word in one.words if phone in word.phones] for one in spoken}
    targets = {name: [word.number for word in words] for name, words in chosen.items()}
    tests = [Intervention(speech, setting) for speech in setting.speech(spoken, [one.samples_16k for one in spoken])]
    where = [
        word_mask(test.speech, [[word[:2] for word in chosen[spoken[number].name]] for number in test.speech.numbers])
        for test in tests
    ]
    drawn = draw_controls(tests, where, feature, controls)
    row = setting.dictionary.W_dec[feature]
    strength = length / row.norm().clamp(min=1e-12)
    rows: list[Row] = []
    for test in tests:
        outcomes = {Condition("clean"): run_patched(test.speech, {})}
        for draw, (name, direction) in enumerate([Control("", row), *drawn]):
            taken = [-part for part in test.contribution([feature], direction[None])]
            added = test.steering(direction * strength)
            for intervention, change in (("ablate", taken), ("steer", added)):
                outcomes[Condition(intervention, draw, name)] = test.run(change, transcribe=draw == 0)
        rows += _rows(test.speech, spoken, outcomes, targets)
    return rows


def patching_trial(
    setting: Setting, trials: Sequence[NoisyTrial], features: Sequence[int], controls: Controls
) -> list[Row]:
    """Clean activations put into noisy speech, part by part.

    Conditions: `clean`, `noisy`; `word.encoder_<n>`: the frames of the target word in the stream after the site's
    block; `elsewhere.encoder_<n>`, its control: as many frames beside the word; `attention_<n>` and `mlp_<n>`: what
    that part of the block adds, on all speech frames; `features`: the contribution of some features, on all speech
    frames, and its controls. A whole layer would be the clean run.
    """
    import torch

    spoken, targets, noisy = zip(*trials, strict=True)
    chosen = [one.words[target] for one, target in zip(spoken, targets, strict=True)]
    numbers = {one.name: [word.number] for one, word in zip(spoken, chosen, strict=True)}
    sounds = [one.samples_16k for one in spoken], noisy  # of one length, so the same utterances share a batch
    here, there = ([Intervention(batch, setting) for batch in setting.speech(spoken, sound)] for sound in sounds)
    inside = [word_mask(test.speech, [[chosen[number][:2]] for number in test.speech.numbers]) for test in here]
    drawn = [draw_controls(here, inside, feature, controls) for feature in features]
    decoder = [torch.stack([control.row for control in draw]) for draw in zip(*drawn, strict=True)]
    rows: list[Row] = []
    for clean, noise, word in zip(here, there, inside, strict=True):
        beside = word_mask(noise.speech, [[_beside(chosen[number])] for number in noise.speech.numbers])
        masks = {"word": word, "elsewhere": beside}
        outcomes = {
            Condition("clean"): run_patched(clean.speech, {}),
            Condition("noisy"): run_patched(noise.speech, {}),
        }
        for condition, part in _parts(setting):
            where = masks.get(condition.split(".")[0], noise.speech.mask)
            outcomes[Condition(condition)] = patch_clean(clean.speech, noise.speech, part, where)
        for draw, directions in enumerate([None, *decoder]):
            both = (test.contribution(features, directions) for test in (clean, noise))
            change = [new - old for new, old in zip(*both, strict=True)]
            outcomes[Condition("features", draw)] = noise.run(change, transcribe=draw == 0)
        rows += _rows(clean.speech, spoken, outcomes, numbers)
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
    speech: Speech,
    spoken: Sequence[Spoken],
    outcomes: Mapping[Condition, Outcome],
    targets: Mapping[str, Collection[int]],
) -> Iterator[Row]:
    """Score every utterance of a batch under every condition; `targets`: numbers of the target words by utterance."""
    for condition, (log_probs, texts) in outcomes.items():
        heard: Sequence[str | None] = texts or [None] * len(log_probs)
        for number, tokens, values, text in zip(speech.numbers, speech.tokens, log_probs, heard, strict=True):
            one = spoken[number]
            by_word = dict.fromkeys((word.number for word in one.words), 0.0)
            for word, log_prob in zip(tokens.words, values.tolist(), strict=False):  # the end is no word
                if word in by_word:
                    by_word[word] += log_prob
            target = [value for word, value in by_word.items() if word in targets[one.name]]
            other = [value for word, value in by_word.items() if word not in targets[one.name]]
            sums = sum(target), len(target), sum(other), len(other)
            errors = (0, 0) if text is None else word_errors(one.text, text)
            name, draw, control = condition
            yield Row(one.name, one.speaker, name, draw, control, *sums, *errors)
