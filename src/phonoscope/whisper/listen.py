"""What Whisper makes of windows while activations are changed: log-probabilities of the transcript, and transcripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from phonoscope.whisper.hooks import Patch, capture, patched
from phonoscope.whisper.model import FRAME_SAMPLES, Encoded, Whisper, embed, run_blocks, transcripts
from phonoscope.whisper.sites import Normaliser, Point, Site, inputs
from phonoscope.whisper.transcript import Tokens, log_probabilities, prompt, tokenize
from phonoscope.whisper.windows import Window, batches, plan_windows, speech_mask, window_audio

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from phonoscope.config.whisper import Normalize

MORE_TOKENS = 10
"""A transcript may have so many tokens more than the longest reference; what is longer is a loop, and is cut off."""


@dataclass(frozen=True)
class Speech:
    """Utterances alone in windows of one length, encoded once; what is changed later starts from here."""

    whisper: Whisper
    windows: list[Window]
    numbers: list[int]
    """Which of the given utterances these are."""
    tokens: list[Tokens]
    streams: list[torch.Tensor]
    """Residual stream [utterances, positions, width] before the first block, and after each block."""
    mask: torch.Tensor
    """Positions that carry speech, [utterances, positions]."""

    def counts(self) -> list[int]:
        """Frames of each utterance."""
        return self.mask.sum(dim=1).tolist()

    def rows(self, point_states: torch.Tensor) -> torch.Tensor:
        """The speech frames of [utterances, positions, width], one after another: [frames, width]."""
        return point_states[self.mask]


class Heard(NamedTuple):
    """What Whisper makes of each utterance."""

    log_probs: list[torch.Tensor]
    """Of every token of the reference and of its end, in nats: [tokens + 1] each."""
    texts: list[str]


def speech_batches(
    whisper: Whisper,
    samples_16k: Sequence[NDArray[np.float32]],
    texts: Sequence[str],
    *,
    context_s: float,
    batch_s: float = 120.0,
) -> Iterator[Speech]:
    """Encode utterances, each alone in its window; one longer than 30 s, whose transcript can't be cut, is left out."""
    windows = plan_windows([len(samples) for samples in samples_16k], [""] * len(texts), context_s=context_s)
    for batch in batches([window for window in windows if window.pieces[0].whole], batch_s):
        numbers = [window.pieces[0].utterance for window in batch]
        audio = [window_audio(window, lambda number: samples_16k[number]) for window in batch]
        streams = [embed(whisper, audio, batch[0].positions * FRAME_SAMPLES)]
        for block in range(whisper.model.config.encoder_layers):
            streams.append(run_blocks(whisper, streams[-1], block, block + 1))
        tokens = [tokenize(whisper, texts[number]) for number in numbers]
        mask = speech_mask(batch).to(whisper.device)
        yield Speech(whisper, batch, numbers, tokens, streams, mask)


def activations(speech: Speech, site: Site, points: Sequence[Point]) -> list[torch.Tensor]:
    """The activations [utterances, positions, width] at points of an encoder site."""
    if site.is_residual:
        return [speech.streams[layer] for layer in site.layers]
    first = first_block(site)
    with capture(points) as taken:
        run_blocks(speech.whisper, speech.streams[first], first, first + 1)
    return [states[0] for states in taken]


def first_block(site: Site) -> int:
    """After which block the encoder must start again for a change at this site to take effect."""
    return 0 if site.is_decoder else max(0, min(site.layers) - 1)


def hear(speech: Speech, patches: Mapping[Point, Patch], first: int, *, transcribe: bool = True) -> Heard:
    """Score and transcribe with the patches in place; the encoder starts again after block `first`."""
    whisper = speech.whisper
    longest = max(len(tokens.ids) for tokens in speech.tokens)
    stream, first, patches = _resume(speech, patches, first)
    with patched(patches):
        encoded = Encoded(whisper, run_blocks(whisper, stream, first))
        log_probs = log_probabilities(whisper, encoded, speech.tokens)
        most = len(prompt(whisper)) + longest + MORE_TOKENS
        texts = transcripts(whisper, encoded, max_tokens=most) if transcribe else []
    return Heard([row.double().cpu() for row in log_probs], texts)


def _resume(
    speech: Speech, patches: Mapping[Point, Patch], first: int
) -> tuple[torch.Tensor, int, Mapping[Point, Patch]]:
    """The stream to start from, after which block that is, and the patches left: a block whose whole output is replaced
    need not run."""
    blocks = speech.whisper.model.model.encoder.layers
    if first < len(blocks) and list(patches) == [Point(blocks[first], "output")]:
        (patch,) = patches.values()
        return patch(speech.streams[first + 1]), first + 1, {}
    return speech.streams[first], first, patches


class SiteRows(NamedTuple):
    """A site's activations on the speech frames, as a dictionary takes them."""

    values: torch.Tensor
    """[frames, inputs]: several layers lie one after another."""
    mean: torch.Tensor
    """What normalising took out of each output's activations, [frames, points]."""
    deviation: torch.Tensor


def site_rows(speech: Speech, site: Site, normalize: Normalize) -> SiteRows:
    """The normalised activations of an encoder site on the speech frames of a batch."""
    import torch

    normaliser = Normaliser(speech.whisper, site, normalize)
    taken = activations(speech, site, inputs(speech.whisper, site))
    values, mean, deviation = zip(*(normaliser.apply(speech.rows(states)) for states in taken), strict=True)
    return SiteRows(torch.cat(values, dim=1), torch.stack(mean, dim=1), torch.stack(deviation, dim=1))
