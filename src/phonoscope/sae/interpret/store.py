"""An interpretation as a folder: tables, activations, and clips with spectrograms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from phonoscope.audio import read_audio, resample
from phonoscope.files import write_json, write_parquet, write_safetensors
from phonoscope.sae.interpret.clips import SAMPLE_RATE, cut_clip, flac, spectrogram, strip_png
from phonoscope.sae.interpret.run import Interpretation

TABLES = ("features", "phones", "windows", "means", "power", "forest")


def save_interpretation(
    folder: Path,
    result: Interpretation,
    activations: csr_array,
    read: Callable[[str], NDArray[np.float32]],
    clip_s: float,
) -> None:
    """Write an interpretation into a folder. `read` gives an utterance's audio at 16 kHz, [samples]."""
    for name in TABLES:
        write_parquet(folder / f"{name}.parquet", pa.Table.from_pandas(getattr(result, name), preserve_index=False))
    write_json(folder / "notes.json", {"skipped": result.skipped, "scores": result.scores})
    parts = {name: torch.from_numpy(getattr(activations, name)) for name in ("data", "indices", "indptr")}
    shape = {"form": "CSR", "shape": list(activations.shape)}
    write_safetensors(folder / "activations.safetensors", parts, shape)
    _write_clips(folder / "clips", result, read, clip_s)


def read_audio_16k(files: Mapping[str, Path], utterance: str) -> NDArray[np.float32]:
    """Audio of an utterance at 16 kHz, [samples]; `files` by utterance."""
    return resample(*read_audio(files[utterance]), SAMPLE_RATE)


def _write_clips(
    folder: Path, result: Interpretation, read: Callable[[str], NDArray[np.float32]], clip_s: float
) -> None:
    """Write <feature>/<rank>.flac, and spectrograms.png with one strip a clip from top to bottom."""
    with_clips = result.features.loc[result.features["clips"], "feature"]
    windows = result.windows[result.windows["feature"].isin(with_clips)].reset_index(drop=True)
    clips = np.zeros((len(windows), round(clip_s * SAMPLE_RATE)), dtype=np.float32)
    for utterance, rows in windows.groupby("utterance", observed=True):
        samples = read(str(utterance))
        for position, frame in zip(rows.index.to_numpy(), rows["frame"].tolist(), strict=True):
            clips[position] = cut_clip(samples, frame, clip_s)
    for feature, rows in windows.groupby("feature"):
        place = folder / f"{feature:05d}"
        place.mkdir(parents=True)
        for position, rank in zip(rows.index.to_numpy(), rows["rank"].tolist(), strict=True):
            (place / f"{rank:02d}.flac").write_bytes(flac(clips[position]))
        (place / "spectrograms.png").write_bytes(strip_png([spectrogram(clips[position]) for position in rows.index]))
