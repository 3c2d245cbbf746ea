"""Throughput, latency and peak memory of the audio encoders, on windows of 1.5 s."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks.measure import measure, median_s

if TYPE_CHECKING:
    from phonoscope.encoders import AudioEncoder

SHAPES = {"codes": ("codes", 8, 112), "mel_80": ("mel", 80, 150), "mel_2048": ("mel", 2048, 65)}
"""Input kind, channels and frames of each encoder."""


def bench_encoders(*, batch: int, rounds: int) -> dict[str, dict[str, float]]:
    """Time every encoder in a separate process with one thread.

    Returns per encoder: windows per second in evaluation and in training, latency of one window in milliseconds
    (medians), peak memory in MB. `ratio` holds the time of a mel batch divided by the time of a batch of codes.
    """
    results: dict[str, dict[str, float]] = {}
    for name in SHAPES:
        measured = measure(partial(_time, frames=SHAPES[name][2], batch=batch, rounds=rounds), name, prepare=_prepare)
        results[name] = {**measured.value, "peak_mb": measured.peak_mb}
    rates = {name: result["windows_per_s"] for name, result in results.items()}
    return results | {"ratio": {name: rates["codes"] / rate for name, rate in rates.items() if name != "codes"}}


def _prepare(name: str) -> AudioEncoder:
    import torch

    from phonoscope.encoders import AudioEncoder

    torch.set_num_threads(1)
    torch.manual_seed(0)
    kind, channels, _ = SHAPES[name]
    return AudioEncoder(kind, channels=channels)  # type: ignore[arg-type]


def _time(encoder: AudioEncoder, *, frames: int, batch: int, rounds: int) -> dict[str, float]:
    import torch

    from phonoscope.encoders.measures import example

    many, one = example(encoder, frames, batch), example(encoder, frames)
    optimizer = torch.optim.AdamW(encoder.parameters())

    def step() -> None:
        optimizer.zero_grad()
        encoder.train()(many).square().mean().backward()
        optimizer.step()

    def forward(x: torch.Tensor) -> None:
        with torch.no_grad():
            encoder.eval()(x)

    return {
        "windows_per_s": batch / median_s(lambda: forward(many), rounds),
        "trained_windows_per_s": batch / median_s(step, rounds),
        "latency_ms": 1000 * median_s(lambda: forward(one), rounds),
    }
