"""The windows that the encoder stages train on, from tokens or from audio."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from phonoscope import paths
from phonoscope.audio import read_audio, resample
from phonoscope.compute import parallel_map
from phonoscope.encoders.windows import (
    MEL_FRAME_RATE_HZ,
    MEL_RATE_HZ,
    Clip,
    Windows,
    cut_windows,
    log_mel,
    standardise,
)
from phonoscope.errors import DataError, ParamsError
from phonoscope.files import read_safetensors
from phonoscope.pipeline.tables import read_manifest, read_split

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from phonoscope.config.encoders import EncoderConfig
    from phonoscope.encoders.audio import InputKind


def read_windows(kind: InputKind, config: EncoderConfig, workers: int) -> tuple[Windows, Windows]:
    """Windows of the train and of the eval utterances: of the same utterances, whether codes or mel frames.

    Raises: `ParamsError` if the codec has fewer layers than asked, `DataError` if an input is missing or has no words.
    """
    tokens = paths.tokens(config.codec)
    if not tokens.exists():
        raise DataError(f"{tokens}: no such file; run `dvc repro encode@{config.codec}`, or mend encoder.codec")
    manifest = read_manifest().set_index("utterance")
    frames: Iterable[tuple[str, NDArray[Any]]]
    if kind == "codes":
        frames, rate_hz = _codes(config), frame_rate_hz(config.codec)
    else:
        frames, rate_hz = _mel(config, manifest, workers), MEL_FRAME_RATE_HZ
    clips = (
        Clip(name, array, str(manifest.at[name, "speaker"]), str(manifest.at[name, "word"])) for name, array in frames
    )
    windows = cut_windows(clips, rate_hz, config.tr_s, sentence_windows=config.sentence_windows)
    split = read_split()
    train, evaluation = windows.subset(split["train"]), windows.subset(split["eval"])
    if kind == "mel":
        train, evaluation = standardise(train, train), standardise(evaluation, train)
    return train, evaluation


def frame_rate_hz(codec: str) -> float:
    return float(read_safetensors(paths.codebooks(codec))[1]["frame_rate_hz"])


def read_codebooks(codec: str, layers: int) -> list[Tensor]:
    """The vectors of the first layers, as they enter the sum: one [codes, dims] a layer."""
    tensors, _ = read_safetensors(paths.codebooks(codec))
    return [tensors[f"layer_{layer}"] for layer in range(1, layers + 1)]


def _codes(config: EncoderConfig) -> Iterator[tuple[str, NDArray[Any]]]:
    """Each utterance's codes [layers, frames]."""
    file = pq.ParquetFile(paths.tokens(config.codec))
    there = sum(name.startswith("code_") for name in file.schema_arrow.names)
    if config.layers > there:
        raise ParamsError(f"encoder.layers is {config.layers}; the codec {config.codec!r} has {there}")
    columns = [f"code_{layer}" for layer in range(1, config.layers + 1)]
    table = file.read(columns=["utterance", *columns]).to_pandas()
    for name, rows in table.groupby("utterance", observed=True, sort=True):
        yield str(name), rows[columns].to_numpy(np.int16).T


def _mel(config: EncoderConfig, manifest: pd.DataFrame, workers: int) -> list[tuple[str, NDArray[Any]]]:
    """Each utterance's mel frames [bins, frames]."""
    names = sorted(pd.read_parquet(paths.tokens(config.codec), columns=["utterance"])["utterance"].astype(str).unique())
    job = partial(_read_mel, bins=config.mel_bins)
    files = [str(manifest.at[name, "path"]) for name in names]
    return list(zip(names, parallel_map(job, files, workers=workers, description="mel"), strict=True))


def _read_mel(file: str, bins: int) -> NDArray[Any]:
    samples, sample_rate = read_audio(paths.CORPUS / file)
    return log_mel(resample(samples, sample_rate, MEL_RATE_HZ), bins)
