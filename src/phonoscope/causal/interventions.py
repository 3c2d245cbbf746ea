"""Features ablated and steered during transcription, and clean activations patched into noisy speech."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from phonoscope.config.sites import Site
from phonoscope.whisper.patching import Outcome, Speech, activations, first_block, run_patched, site_rows
from phonoscope.whisper.sites import Normaliser, outputs, substitute

if TYPE_CHECKING:
    from torch import Tensor

    from phonoscope.config.whisper import Normalize
    from phonoscope.sae import SparseAutoencoder


class Intervention:
    """An encoder site of one batch of speech, with the features of a dictionary on its frames."""

    def __init__(self, speech: Speech, site: Site, dictionary: SparseAutoencoder, normalize: Normalize) -> None:
        self.speech, self.site, self._dictionary = speech, site, dictionary
        self._points = outputs(speech.whisper, site)
        self._normaliser = Normaliser(speech.whisper, site, normalize)
        values, _, self._deviation = site_rows(speech, site, normalize)
        self._features = dictionary.encode(values)
        self._raw = [states[speech.mask] for states in activations(speech, site, self._points)]

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
    """Whisper's output for noisy speech with the clean activations of a site, at the positions `where` marks.

    Args:
        where: bool of shape [utterances, positions]; the speech of both must be in the same windows.
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
