"""The windows that the encoder stages train on, from tokens or from audio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.audio import read_audio, resample
from phonoscope.compute import parallel_map
from phonoscope.data import Codebooks, Manifest, Split, Tokens
from phonoscope.encoders.windows import (
    MEL_FRAME_RATE_HZ,
    MEL_RATE_HZ,
    Clip,
    Windows,
    cut_windows,
    log_mel,
    standardise,
)
from phonoscope.errors import ParamsError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from phonoscope.config.encoders import EncoderConfig
    from phonoscope.encoders.audio import InputKind


def read_windows(kind: InputKind, config: EncoderConfig, workers: int) -> tuple[Windows, Windows]:
    """Windows of the train and of the eval utterances: of the same utterances, whether codes or mel frames.

    Raises: `ParamsError` if the codec has fewer layers than asked, `DataError` if an input is missing or has no words.
    """
    tokens = Tokens.load(paths.tokens(config.codec))
    manifest, split = Manifest.load(paths.MANIFEST), Split.load(paths.SPLIT)
    if config.layers > tokens.layers:
        raise ParamsError(f"encoder.layers is {config.layers}; the codec {config.codec!r} has {tokens.layers}")
    frames: Mapping[str, NDArray[Any]]
    if kind == "codes":
        frames, rate_hz = tokens.codes(layers=config.layers), tokens.frame_rate_hz
    else:
        frames, rate_hz = _mel(tokens.utterances, config, manifest, workers), MEL_FRAME_RATE_HZ
    speakers, words = manifest.by_utterance("speaker"), manifest.by_utterance("word")
    clips = (Clip(name, frames[name], speakers[name], words[name]) for name in sorted(frames))
    windows = cut_windows(clips, rate_hz, config.tr_s, sentence_windows=config.sentence_windows)
    train, evaluation = windows.subset(split.train), windows.subset(split.eval)
    if kind == "mel":
        train, evaluation = standardise(train, train), standardise(evaluation, train)
    return train, evaluation


def read_codebooks(codec: str, layers: int) -> list[Tensor]:
    """The vectors of the first layers, as they enter the sum: one [codes, dims] a layer."""
    import torch

    books = Codebooks.load(paths.codebooks(codec)).first(layers)
    return [torch.from_numpy(vectors) for vectors in books.vectors]


def _mel(utterances: Sequence[str], config: EncoderConfig, manifest: Manifest, workers: int) -> dict[str, NDArray[Any]]:
    """Each utterance's mel frames [bins, frames]."""
    names, files = sorted(utterances), manifest.by_utterance("path")
    job = partial(_read_mel, bins=config.mel_bins)
    frames = parallel_map(job, [files[name] for name in names], workers=workers, description="mel")
    return dict(zip(names, frames, strict=True))


def _read_mel(file: str, bins: int) -> NDArray[Any]:
    samples, sample_rate = read_audio(paths.CORPUS / file)
    return log_mel(resample(samples, sample_rate, MEL_RATE_HZ), bins)
