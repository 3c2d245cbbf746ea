"""Activations of Whisper at any sites, window by window."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phonoscope.config.sites import Site
from phonoscope.errors import DataError
from phonoscope.whisper.hooks import capture
from phonoscope.whisper.model import FRAME_SAMPLES, Whisper, embed, run_blocks
from phonoscope.whisper.sites import Normaliser, Point, inputs, outputs
from phonoscope.whisper.transcript import TextTokens, prompt, token_batch
from phonoscope.whisper.windows import Piece, Window

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from phonoscope.config.whisper import Normalize


class Block(NamedTuple):
    """Consecutive rows of one utterance at one site."""

    utterance: int
    first: int
    """Index of the first row within the utterance."""
    values: NDArray[np.float16]
    """[rows, width], or [rows, parts, width] where a site has several: an MLP's input and output, or every layer."""
    mean: NDArray[np.float32]
    """Mean that normalising took out, [rows, parts]."""
    deviation: NDArray[np.float32]


@dataclass(frozen=True)
class Batch:
    """Windows of one length that are encoded at once."""

    windows: Sequence[Window]
    audio: Sequence[NDArray[np.float32]]
    texts: Sequence[Sequence[TextTokens]]
    """Transcripts of each window's utterances, in order; only decoder sites need them."""


def parts(whisper: Whisper, site: Site) -> int:
    """Vectors in a row: an MLP's input and output, one a layer of the stack, else 1."""
    return 2 if site.kind == "mlp" else len(outputs(whisper, site))


def text_spans(whisper: Whisper, window: Window, texts: Sequence[TextTokens]) -> list[tuple[int, int]]:
    """Positions of each utterance's tokens in the decoder's input, as (start, end).

    The prompt belongs to the window's first utterance; an utterance that was cut has no positions.
    """
    start, spans = 0, []
    for index, (piece, tokens) in enumerate(zip(window.pieces, texts, strict=True)):
        length = (len(tokens.ids) + (len(prompt(whisper)) if index == 0 else 0)) if piece.whole else 0
        spans.append((start, start + length))
        start += length
    return spans


def extract(whisper: Whisper, sites: Sequence[Site], batch: Batch, *, normalize: Normalize) -> dict[Site, list[Block]]:
    """The activations of one batch of windows at all sites, in float16; padding is left out.

    Raises: `DataError` if an activation is not finite in float16.
    """
    import torch

    points = {site: _points(whisper, site) for site in sites}
    flat = [point for site in sites for point in points[site]]
    joined = [_joined(window, texts) for window, texts in zip(batch.windows, batch.texts, strict=True)]
    with torch.inference_mode(), capture(flat) as taken:
        stream = run_blocks(whisper, embed(whisper, batch.audio, batch.windows[0].positions * FRAME_SAMPLES))
        if any(site.is_decoder for site in sites):
            encoded = whisper.model.model.encoder.layer_norm(stream)
            read = token_batch(whisper, joined)[:, :-1]
            whisper.model.model.decoder(read, encoder_hidden_states=encoded, use_cache=False)
        by_point = dict(zip(flat, (states[0] for states in taken), strict=True))
        return {
            site: _blocks(whisper, site, [by_point[point] for point in points[site]], batch, normalize)
            for site in sites
        }


def _joined(window: Window, texts: Sequence[TextTokens]) -> TextTokens:
    """One transcript of all utterances that are whole in a window."""
    whole = (tokens for piece, tokens in zip(window.pieces, texts, strict=True) if piece.whole)
    return reduce(TextTokens.__add__, whole, TextTokens((), ()))


def _points(whisper: Whisper, site: Site) -> list[Point]:
    """Points of a row's vectors: an MLP's input and output, else the outputs, which are the inputs."""
    between = outputs(whisper, site)
    return [*inputs(whisper, site), *between] if site.kind == "mlp" else between


def _blocks(
    whisper: Whisper, site: Site, states: Sequence[torch.Tensor], batch: Batch, normalize: Normalize
) -> list[Block]:
    import torch

    normaliser = Normaliser(whisper, site, normalize)
    values, mean, deviation = (torch.stack(part, dim=2) for part in zip(*map(normaliser.apply, states), strict=True))
    blocks = []
    for index, window in enumerate(batch.windows):
        for piece, (start, end) in _spans(whisper, site, window, batch.texts[index]):
            rows = values[index, start:end].to(torch.float16).cpu().numpy()
            if not np.isfinite(rows).all():
                raise DataError(f"{site.name}: activations beyond float16; normalise them by the final layer norm")
            blocks.append(
                Block(
                    piece.utterance,
                    piece.skip,
                    rows if rows.shape[1] > 1 else rows[:, 0],
                    mean[index, start:end].cpu().numpy(),
                    deviation[index, start:end].cpu().numpy(),
                )
            )
    return blocks


def _spans(
    whisper: Whisper, site: Site, window: Window, texts: Sequence[TextTokens]
) -> Iterator[tuple[Piece, tuple[int, int]]]:
    """Positions of every utterance in a window, as (start, end)."""
    if site.is_decoder:
        yield from zip(window.pieces, text_spans(whisper, window, texts), strict=True)
    else:
        yield from ((piece, (piece.first, piece.first + piece.frames)) for piece in window.pieces)


def agreement(one: NDArray[np.floating], other: NDArray[np.floating]) -> dict[str, float]:
    """Agreement of the same frames in two computations, [n, width] each: mean cosine, and variance of the difference
    over that of `one`."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return {
        "cosine": float(cosine.mean()),
        "difference": float(((a - b) ** 2).sum() / ((a - a.mean(axis=0)) ** 2).sum()),
    }
