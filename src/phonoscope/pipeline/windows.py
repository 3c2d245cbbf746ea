"""The inputs of the encoder stages: windows of the corpus, and the codec's vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.errors import NotApplicable, ParamsError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from phonoscope.config.encoders import EncoderConfig
    from phonoscope.encoders.audio import InputKind
    from phonoscope.encoders.windows import Windows


def read_windows(kind: InputKind, config: EncoderConfig, workers: int) -> tuple[Windows, Windows]:
    """Windows of train and eval, the same utterances for codes and mel frames.

    Raises `ParamsError`, `DataError`, and `NotApplicable` if a side has no isolated word.
    """
    from phonoscope.data import Manifest, Split, Tokens
    from phonoscope.encoders.windows import MEL_FRAME_RATE_HZ, NO_WORD, Clip, cut_windows, read_mel, standardise

    tokens = Tokens.load(paths.tokens(config.codec))
    if config.layers > tokens.layers:
        raise ParamsError(f"encoder.layers is {config.layers}; the codec {config.codec!r} has {tokens.layers}")
    names, manifest = sorted(tokens.utterances), Manifest.load(paths.MANIFEST)
    frames: Mapping[str, NDArray[Any]]
    if kind == "codes":
        frames, rate_hz = tokens.codes(names, config.layers), tokens.frame_rate_hz
    else:
        files, rate_hz = manifest.by_utterance("path"), MEL_FRAME_RATE_HZ
        frames = read_mel({name: paths.CORPUS / files[name] for name in names}, config.mel_bins, workers)
    speakers, words = manifest.by_utterance("speaker"), manifest.by_utterance("word")
    clips = [Clip(name, array, speakers[name], words[name]) for name, array in frames.items()]
    windows = cut_windows(clips, rate_hz, config.tr_s, sentence_windows=config.sentence_windows)
    split = Split.load(paths.SPLIT)
    train, evaluation = windows.subset(split.train), windows.subset(split.eval)
    for name, side in {"train": train, "eval": evaluation}.items():
        if not (side.labels["word"] != NO_WORD).any():
            raise NotApplicable(f"{name} has no isolated word; hold out more or fewer utterances (split.eval_fraction)")
    return (train, evaluation) if kind == "codes" else (standardise(train, train), standardise(evaluation, train))


def read_codebooks(codec: str, layers: int) -> list[Tensor]:
    """The vectors of the first layers, as they enter the sum: one [codes, dims] per layer."""
    import torch

    from phonoscope.data import Codebooks

    return [torch.from_numpy(vectors) for vectors in Codebooks.load(paths.codebooks(codec)).first(layers).vectors]
