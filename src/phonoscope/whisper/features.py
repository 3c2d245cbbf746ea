"""Activations of Whisper at any sites, window by window."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from phonoscope.config.sites import Site
from phonoscope.config.whisper import Normalize
from phonoscope.errors import DataError
from phonoscope.whisper.model import FRAME_SAMPLES, Whisper, embed, run_blocks
from phonoscope.whisper.sites import Normaliser, Point, capture, inputs, outputs
from phonoscope.whisper.transcript import TextTokens, prompt, token_batch
from phonoscope.whisper.utterances import Piece, Window

if TYPE_CHECKING:
    import torch


class Block(NamedTuple):
    """Consecutive rows of one utterance at one site."""

    utterance: int
    first: int  # row within the utterance
    values: NDArray[np.float16]
    """[rows, width], or [rows, parts, width] where a site has several: an MLP's input and output, or every layer."""
    mean: NDArray[np.float32]  # that normalising took out, [rows, parts]
    deviation: NDArray[np.float32]


def row_points(whisper: Whisper, site: Site) -> list[Point]:
    """Points of the vectors of a row: an MLP's input and output, else the outputs, which are the inputs."""
    between = outputs(whisper, site)
    return [*inputs(whisper, site), *between] if site.kind == "mlp" else between


def text_spans(whisper: Whisper, window: Window, texts: Sequence[TextTokens]) -> list[tuple[int, int]]:
    """Positions of each utterance's tokens in the decoder's input, as (start, end).

    The prompt belongs to the window's first utterance; an utterance that was cut has no positions.
    """
    lengths = [len(tokens.ids) if piece.whole else 0 for piece, tokens in zip(window.pieces, texts, strict=True)]
    lengths[0] += len(prompt(whisper)) if window.pieces[0].whole else 0
    return list(pairwise(accumulate(lengths, initial=0)))


def extract(
    whisper: Whisper,
    sites: Sequence[Site],
    windows: Sequence[Window],
    audio: Sequence[NDArray[np.float32]],
    texts: Sequence[Sequence[TextTokens]],
    normalize: Normalize,
) -> dict[Site, list[Block]]:
    """The activations of windows of one length, encoded at once, at all sites, in float16; padding is left out.

    `texts` are the transcripts of each window's utterances, in order; only decoder sites need them.
    Raises: `DataError` if an activation is not finite in float16.
    """
    import torch

    points = {site: row_points(whisper, site) for site in sites}
    every = [point for site in sites for point in points[site]]
    with torch.inference_mode(), capture(every) as taken:
        stream = run_blocks(whisper, embed(whisper, audio, windows[0].positions * FRAME_SAMPLES))
        if any(site.is_decoder for site in sites):
            encoded = whisper.model.model.encoder.layer_norm(stream)
            pairs = [zip(window.pieces, told, strict=True) for window, told in zip(windows, texts, strict=True)]
            joined = [[token for piece, told in pair if piece.whole for token in told.ids] for pair in pairs]
            # the last token is only predicted: the decoder never reads it
            read = token_batch(whisper, joined)[:, :-1]
            whisper.model.model.decoder(read, encoder_hidden_states=encoded, use_cache=False)
        blocks: dict[Site, list[Block]] = {}
        for site in sites:
            normaliser = Normaliser(whisper, site, normalize)
            parts = zip(*(normaliser.apply(taken[point]) for point in points[site]), strict=True)
            states = [torch.stack(part, dim=2) for part in parts]
            blocks[site] = [
                _block(site, piece, *(part[row, start:end] for part in states))
                for row, (window, told) in enumerate(zip(windows, texts, strict=True))
                for piece, (start, end) in zip(window.pieces, _spans(whisper, site, window, told), strict=True)
            ]
        return blocks


def _spans(whisper: Whisper, site: Site, window: Window, texts: Sequence[TextTokens]) -> list[tuple[int, int]]:
    if site.is_decoder:
        return text_spans(whisper, window, texts)
    return [(piece.first, piece.first + piece.frames) for piece in window.pieces]


def _block(site: Site, piece: Piece, values: torch.Tensor, mean: torch.Tensor, deviation: torch.Tensor) -> Block:
    # float16 halves the largest files of the pipeline; its largest number is 65,504
    rows = values.half().cpu().numpy()
    if not np.isfinite(rows).all():
        raise DataError(f"{site.name}: activations beyond float16; normalise them by the final layer norm")
    rows = rows if rows.shape[1] > 1 else rows[:, 0]
    return Block(piece.utterance, piece.skip, rows, mean.cpu().numpy(), deviation.cpu().numpy())


def agreement(one: NDArray[np.floating], other: NDArray[np.floating]) -> dict[str, float]:
    """Agreement of the same frames in two computations, [n, width] each: mean cosine, and variance of the difference
    over that of `one`."""
    a, b = one.astype(np.float64), other.astype(np.float64)  # squares of float16 overflow above 256
    cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    difference = ((a - b) ** 2).sum() / ((a - a.mean(axis=0)) ** 2).sum()
    return {"cosine": float(cosine.mean()), "difference": float(difference)}
