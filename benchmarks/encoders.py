"""Throughput, latency and peak memory of the audio encoders, on windows of 1.5 s."""

from __future__ import annotations

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
        measured = measure(_time, name, batch, rounds, prepare=_prepare)
        results[name] = {**measured.value, "peak_mb": measured.peak_mb}
    ratios = {
        name: results["codes"]["windows_per_s"] / results[name]["windows_per_s"] for name in SHAPES if name != "codes"
    }
    return results | {"ratio": ratios}


def _prepare(name: str, batch: int, rounds: int) -> tuple[AudioEncoder, int, int, int]:
    import torch

    from phonoscope.encoders import AudioEncoder

    torch.set_num_threads(1)
    torch.manual_seed(0)
    kind, channels, frames = SHAPES[name]
    return AudioEncoder(kind, channels=channels), frames, batch, rounds  # type: ignore[arg-type]


def _time(prepared: tuple[AudioEncoder, int, int, int]) -> dict[str, float]:
    import torch

    from phonoscope.encoders.measures import example

    encoder, frames, batch, rounds = prepared
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
