"""Whisper with changed activations: log-probabilities of the reference transcript, and transcripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from phonoscope.config.sites import Site
from phonoscope.whisper.model import FRAME_SAMPLES, Encoded, Whisper, embed, run_blocks, transcripts
from phonoscope.whisper.sites import Normaliser, Patch, Point, capture, inputs, patched, site_layers
from phonoscope.whisper.transcript import TextTokens, log_probabilities, prompt, tokenize
from phonoscope.whisper.utterances import batches, plan_windows, speech_mask, window_audio

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from phonoscope.config.whisper import Normalize

BATCH_S = 120.0  # seconds of windows that are encoded at once; bounds memory
MORE_TOKENS = 10
"""Tokens that a transcript may exceed the longest reference by; a longer one is a loop, and is cut off."""


@dataclass(frozen=True)
class Speech:
    """Utterances alone in windows of one length, encoded once; patched runs start from here."""

    whisper: Whisper
    numbers: list[int]
    """Indices of the given utterances."""
    tokens: list[TextTokens]
    streams: list[torch.Tensor]
    """Residual stream [utterances, positions, width] before the first block, and after each block."""
    mask: torch.Tensor
    """Positions that carry speech, [utterances, positions]."""


class Outcome(NamedTuple):
    """Whisper's output for each utterance."""

    log_probs: list[torch.Tensor]
    """Of every token of the reference and of its end, in nats: [tokens + 1] each."""
    texts: list[str]
    """Transcripts."""


def speech_batches(
    whisper: Whisper, samples_16k: Sequence[NDArray[np.float32]], texts: Sequence[str], *, context_s: float
) -> Iterator[Speech]:
    """Encode utterances, each alone in its window. One longer than 30 s is left out: its transcript cannot be cut."""
    windows = plan_windows([len(samples) for samples in samples_16k], [""] * len(texts), context_s=context_s)
    for batch in batches([window for window in windows if window.pieces[0].whole], BATCH_S):
        numbers = [window.pieces[0].utterance for window in batch]
        audio = [window_audio(window, lambda number: samples_16k[number]) for window in batch]
        streams = [embed(whisper, audio, batch[0].positions * FRAME_SAMPLES)]
        for block in range(whisper.model.config.encoder_layers):
            streams.append(run_blocks(whisper, streams[-1], block, block + 1))
        tokens = [tokenize(whisper, texts[number]) for number in numbers]
        yield Speech(whisper, numbers, tokens, streams, speech_mask(batch).to(whisper.device))


def activations(speech: Speech, site: Site, points: Sequence[Point]) -> list[torch.Tensor]:
    """The activations [utterances, positions, width] at points of an encoder site."""
    if site.is_residual:
        return [speech.streams[layer] for layer in site_layers(speech.whisper, site)]
    first = first_block(site)
    with capture(points) as taken:
        run_blocks(speech.whisper, speech.streams[first], first, first + 1)
    return [taken[point] for point in points]


def first_block(site: Site) -> int:
    """The block after which the encoder must start again for a change at this site to take effect."""
    return 0 if site.is_decoder or site.layer is None else max(0, site.layer - 1)


def run_patched(speech: Speech, patches: Mapping[Point, Patch], first: int | None = None) -> Outcome:
    """Score and transcribe with the patches in place.

    Args:
        first: the encoder starts again after this block; default the last one, for speech as it is.
    """
    whisper, blocks = speech.whisper, speech.whisper.model.model.encoder.layers
    first = len(blocks) if first is None else first
    stream = speech.streams[first]
    if first < len(blocks) and list(patches) == [Point(blocks[first], "output")]:
        # a block whose whole output is replaced need not run
        (patch,) = patches.values()
        stream, first, patches = patch(speech.streams[first + 1]), first + 1, {}
    longest = max(len(tokens.ids) for tokens in speech.tokens)
    with patched(patches):
        encoded = Encoded(whisper, run_blocks(whisper, stream, first))
        log_probs = log_probabilities(whisper, encoded, [tokens.ids for tokens in speech.tokens])
        texts = transcripts(whisper, encoded, max_tokens=len(prompt(whisper)) + longest + MORE_TOKENS)
    # in float64, since effects are small differences of sums of these
    return Outcome([row.double().cpu() for row in log_probs], texts)


def site_rows(speech: Speech, site: Site, normalize: Normalize) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """An encoder site's normalised activations on the speech frames of a batch, as a dictionary takes them.

    Returns: the activations [frames, inputs], several layers concatenated; and the mean and the deviation that
    normalising took out of each point's activations, [frames, points].
    """
    import torch

    normaliser = Normaliser(speech.whisper, site, normalize)
    taken = activations(speech, site, inputs(speech.whisper, site))
    values, mean, deviation = zip(*(normaliser.apply(states[speech.mask]) for states in taken), strict=True)
    return torch.cat(values, dim=1), torch.stack(mean, dim=1), torch.stack(deviation, dim=1)
