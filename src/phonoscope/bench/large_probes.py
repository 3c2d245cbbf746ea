"""The probes of two codecs on 24 million frames, as many as a hundred hours of speech have."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from phonoscope.bench.measure import peak_bytes
from phonoscope.bench.speech import SpeechLayer
from phonoscope.compute import parallel_map

if TYPE_CHECKING:
    from phonoscope.probes import ClassTable, Probe, ValueTable

BATCH = 500_000
"""Frames that are held at a time."""


class Done(NamedTuple):
    """What the work on one layer leaves."""

    process: int
    peak_bytes: int
    converged: list[bool]
    """Of each probe."""


def bench_large(
    *,
    frames: int = 24_000_000,
    dims: Sequence[int] = (128, 1024),
    layers: int = 8,
    codes: int = 1024,
    phones: int = 71,
    speakers: int = 251,
    workers: int = 2,
    seed: int = 0,
) -> dict[str, float | None]:
    """Draw, count and fit: phone, speaker and pitch of every layer of codecs of so many dimensions, 48 probes.

    Tokens are drawn batch by batch and never held. `ours_s` is the wall-clock time of all of it, `peak_mb` the sum over
    all processes, this one too, of the most memory each has held, its modules included. scikit-learn is not run: the
    frames of one layer of 1,024 dimensions alone take 197 GB.
    """
    start = time.perf_counter()
    work = partial(_probe_layer, frames=frames, codes=codes, phones=phones, speakers=speakers, seed=seed)
    widest_first = [
        (codec, layer, width)
        for codec, width in sorted(enumerate(dims), key=lambda each: -each[1])
        for layer in range(1, layers + 1)
    ]
    done = parallel_map(work, widest_first, workers=workers, description="layers")
    peaks = {os.getpid(): peak_bytes()}
    for each in done:
        peaks[each.process] = max(each.peak_bytes, peaks.get(each.process, 0))
    fits = [converged for each in done for converged in each.converged]
    return {
        "frames": frames,
        "probes": len(fits),
        "unconverged": fits.count(False),
        "reference_s": None,
        "ours_s": time.perf_counter() - start,
        "ratio": None,
        "max_objective_gap": None,
        "agreement": None,
        "peak_mb": sum(peaks.values()) / 1e6,
    }


def _probe_layer(
    which: tuple[int, int, int], *, frames: int, codes: int, phones: int, speakers: int, seed: int
) -> Done:
    from threadpoolctl import threadpool_limits

    from phonoscope.probes import fit_probe, fit_ridge

    codec, depth, dims = which
    layer = SpeechLayer(codec, depth, dims=dims, codes=codes, phones=phones, speakers=speakers, seed=seed)
    with threadpool_limits(1):
        phone, speaker, pitch = _count(layer, frames)
        probes: list[Probe] = [fit_probe(table, layer.codebook) for table in (phone, speaker)]
        probes.append(fit_ridge(pitch, layer.codebook))
    return Done(os.getpid(), peak_bytes(), [probe.converged for probe in probes])


def _count(layer: SpeechLayer, frames: int) -> tuple[ClassTable, ClassTable, ValueTable]:
    """Tables of phone, speaker and F0, batch by batch."""
    from phonoscope.probes import ClassTable, ValueTable

    size = len(layer.codebook)
    phone = ClassTable(layer.phone_names, np.zeros((size, len(layer.phone_names)), dtype=np.int64))
    speaker = ClassTable(layer.speaker_names, np.zeros((size, len(layer.speaker_names)), dtype=np.int64))
    pitch = ValueTable(np.zeros(size, dtype=np.int64), np.zeros(size), np.zeros(size))
    for index, start in enumerate(range(0, frames, BATCH)):
        batch = layer.batch(index, min(BATCH, frames - start))
        phone += ClassTable.from_frames(batch.codes, batch.phones, layer.phone_names, size)
        speaker += ClassTable.from_frames(batch.codes, batch.speakers, layer.speaker_names, size)
        voiced = np.isfinite(batch.f0_hz)
        pitch += ValueTable.from_frames(batch.codes[voiced], batch.f0_hz[voiced], size)
    return phone, speaker, pitch
