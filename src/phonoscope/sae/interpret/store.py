"""An interpretation as a folder: tables, activations, and clips with spectrograms."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile as sf
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import csr_array
from torchaudio.functional import melscale_fbanks

from phonoscope.audio import read_audio, resample
from phonoscope.files import write_json, write_parquet, write_safetensors
from phonoscope.sae.interpret.run import Interpretation

SAMPLE_RATE = 16_000
FRAME_SAMPLES = 320  # 20 ms; frame i is centred on sample 320 i
HOP, WINDOW, MELS = 160, 400, 64
RANGE_DB = 70.0
PEAK = 0.95
BITS = 12  # the lower four of 16 bits stay empty, which makes a FLAC file a third smaller
FAINT = 1e-3  # least mel power of a clip's loudest point, so that silence stays white
TABLES = ("features", "phones", "windows", "means", "power", "forest")
Audio = Callable[[str], NDArray[np.float32]]  # an utterance's audio at 16 kHz, [samples]


def save_interpretation(
    folder: Path, result: Interpretation, activations: csr_array, read: Audio, clip_s: float
) -> None:
    """Write an interpretation into a folder."""
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


def _write_clips(folder: Path, result: Interpretation, read: Audio, clip_s: float) -> None:
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


def cut_clip(samples: NDArray[np.float32], frame: int, clip_s: float) -> NDArray[np.float32]:
    """Part of an utterance, `samples` at 16 kHz, whose middle is the centre of Whisper frame `frame`.

    It has round(16,000 * clip_s) samples: beyond the utterance's edges it is silent.
    """
    length = round(SAMPLE_RATE * clip_s)
    start = FRAME_SAMPLES * frame - length // 2
    clip = np.zeros(length, dtype=np.float32)
    first, last = max(start, 0), min(start + length, len(samples))
    if first < last:
        clip[first - start : last - start] = samples[first:last]
    return clip


def flac(clip: NDArray[np.float32]) -> bytes:
    """A clip as mono FLAC at 16 kHz, its peak at 0.95, rounded to 12 bits."""
    peak = float(np.abs(clip).max(initial=0.0))
    steps = np.rint(clip * (PEAK / peak if peak > 1e-4 else 1.0) * 2 ** (BITS - 1))
    buffer = io.BytesIO()
    sf.write(buffer, (steps * 2 ** (16 - BITS)).astype(np.int16), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return buffer.getvalue()


def spectrogram(clip: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Log-mel picture of a clip, [64 mel bands, columns of 10 ms]: high frequencies on top, dark where loud.

    255 is 70 dB and more below the clip's loudest point.
    """
    window = torch.hann_window(WINDOW)
    # padded to twice the window: the lowest mel bands are hardly wider than a bin of the window alone
    bins = torch.stft(torch.from_numpy(clip), 2 * WINDOW, HOP, WINDOW, window, return_complex=True).abs().square()
    bands = melscale_fbanks(len(bins), 50.0, SAMPLE_RATE / 2, MELS, SAMPLE_RATE, "slaney", "slaney")
    power = (bands.T @ bins)[:, : len(clip) // HOP].numpy()
    level = 10 * np.log10(np.maximum(power, 1e-10) / max(float(power.max()), FAINT))
    return np.rint(-level / RANGE_DB * 255).clip(0, 255).astype(np.uint8)[::-1]


def strip_png(pictures: Sequence[NDArray[np.uint8]]) -> bytes:
    """Pictures of one size below each other, as one grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(list(pictures))).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
