"""Reconstruction quality of a codec: SI-SDR, mel distance, STOI."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from phonoscope.audio import load_librosa
from phonoscope.codecs.base import device_of, encode_batch

STOI_MIN_S = 0.6  # shortest clip with a score: STOI needs 30 frames of 12.8 ms that carry speech


def si_sdr_db(reference: NDArray[np.float32], estimate: NDArray[np.float32]) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al., arXiv:1811.02508, eq. 3). [samples] each.

    Always finite: a silent estimate has no scale and gets -100 dB, an exact one at most about 200 dB.
    """
    target = reference.astype(np.float64) - reference.mean(dtype=np.float64)
    output = estimate.astype(np.float64) - estimate.mean(dtype=np.float64)
    projection = target * (output @ target) / max(float(target @ target), 1e-20)
    noise = output - projection
    return float(10 * np.log10((projection @ projection + 1e-30) / (noise @ noise + 1e-20)))


def mel_distance_db(reference: NDArray[np.float32], estimate: NDArray[np.float32], sample_rate: int) -> float:
    """Mean absolute difference of log-mel energies in dB: 80 mels, 25 ms windows, 10 ms hop, floor 80 dB below peak."""
    mel, n_fft, hop = load_librosa().feature.melspectrogram, round(0.025 * sample_rate), round(0.010 * sample_rate)
    settings = {"sr": sample_rate, "n_fft": n_fft, "hop_length": hop, "n_mels": 80}
    target, output = mel(y=reference, **settings), mel(y=estimate, **settings)
    # one floor for both, by the reference's peak: silence in the estimate must not count for more than it is heard
    floor = max(float(target.max()) * 1e-8, 1e-12)
    return float(np.abs(10 * np.log10(np.maximum(target, floor)) - 10 * np.log10(np.maximum(output, floor))).mean())


def stoi(reference: NDArray[np.float32], estimate: NDArray[np.float32], sample_rate: int) -> float | None:
    """Short-time objective intelligibility (Taal et al. 2011), or None if too little of the clip carries speech."""
    from pystoi import stoi as pystoi

    if len(reference) < STOI_MIN_S * sample_rate:
        return None
    with warnings.catch_warnings(), suppress(RuntimeWarning):
        # pystoi returns 1e-5 with this warning when fewer than 30 frames remain after its silence removal
        warnings.simplefilter("error", RuntimeWarning)
        return float(pystoi(reference, estimate, sample_rate))
    return None


def clip_quality(codec: Any, samples: NDArray[np.float32]) -> list[tuple[int, str, float | None]]:
    """SI-SDR, mel distance and STOI of one clip at the codec's rate, decoded from the first l layers, for every l.

    Returns: (layers kept, metric, score); STOI is None for a clip that is too short for it.
    """
    import torch

    scores: list[tuple[int, str, float | None]] = []
    with torch.inference_mode():
        codes = encode_batch(codec, torch.from_numpy(samples)[None].to(device_of(codec))).codes
        for layers in range(1, codec.n_layers + 1):
            decoded = codec.decode(codes[:, :layers])[0, 0].cpu().numpy()
            n = min(len(decoded), codes.shape[2] * codec.hop_length)  # samples after the last frame have no code
            pair = samples[:n], decoded[:n]
            scores.append((layers, "si_sdr_db", si_sdr_db(*pair)))
            scores.append((layers, "mel_distance_db", mel_distance_db(*pair, codec.sample_rate)))
            scores.append((layers, "stoi", stoi(*pair, codec.sample_rate)))
    return scores


def quality_table(clips: Sequence[list[tuple[int, str, float | None]]]) -> pd.DataFrame:
    """Means over clips as a tidy table: layer (layers kept), metric, value, and n, the number of clips with a score."""
    scores = pd.DataFrame([row for clip in clips for row in clip], columns=["layer", "metric", "value"]).dropna()
    means = scores.groupby(["metric", "layer"], sort=False)["value"].agg(["mean", "size"]).reset_index()
    return means.rename(columns={"mean": "value", "size": "n"})[["layer", "metric", "value", "n"]]
