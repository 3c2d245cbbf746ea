"""48 probes of two codecs on 24 million frames, the frames of about a hundred hours of speech."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measure import peak_bytes
from benchmarks.speech import SpeechLayer
from phonoscope.compute import parallel_map

if TYPE_CHECKING:
    from phonoscope.probes import ClassTable, ValueTable
    from phonoscope.probes.solvers import Probe

BATCH = 500_000  # frames in memory at a time


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
    """Draw, count and fit: probes for phone, speaker and pitch of every layer of one codec per entry of `dims`.

    Tokens are drawn and counted batch by batch. `ours_s` is the wall-clock time of everything, `peak_mb` the sum of the
    peak memory of all processes, including this one and all modules. scikit-learn does not run: the frames of one layer
    with 1,024 dimensions alone would take 197 GB.
    """
    start = time.perf_counter()
    work = partial(_probe_layer, frames=frames, codes=codes, phones=phones, speakers=speakers, seed=seed)
    widest_first = sorted(product(enumerate(dims), range(1, layers + 1)), key=lambda item: -item[0][1])
    results = parallel_map(work, widest_first, workers=workers, description="layers")
    peaks = {os.getpid(): peak_bytes()}
    for process, peak, _ in results:
        peaks[process] = max(peak, peaks.get(process, 0))
    fits = [converged for _, _, each in results for converged in each]
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
    item: tuple[tuple[int, int], int], *, frames: int, codes: int, phones: int, speakers: int, seed: int
) -> tuple[int, int, list[bool]]:
    """The process's id and peak memory, and whether each probe converged."""
    from phonoscope.compute import limit_threads
    from phonoscope.probes import fit_probe, fit_ridge

    (codec, dims), depth = item
    layer = SpeechLayer(codec, depth, dims=dims, codes=codes, phones=phones, speakers=speakers, seed=seed)
    with limit_threads():
        phone, speaker, pitch = _count(layer, frames)
        probes: list[Probe] = [fit_probe(table, layer.codebook) for table in (phone, speaker)]
        probes.append(fit_ridge(pitch, layer.codebook))
    return os.getpid(), peak_bytes(), [probe.converged for probe in probes]


def _count(layer: SpeechLayer, frames: int) -> tuple[ClassTable, ClassTable, ValueTable]:
    """Contingency tables of phone and speaker and the F0 table, summed batch by batch."""
    from phonoscope.probes import ClassTable, ValueTable

    size, names = len(layer.codebook), (layer.phone_names, layer.speaker_names)
    counts = [np.zeros((size, len(classes)), dtype=np.int64) for classes in names]
    count, f0_sum, f0_squares = np.zeros(size, dtype=np.int64), np.zeros(size), np.zeros(size)
    for index, start in enumerate(range(0, frames, BATCH)):
        batch = layer.batch(index, min(BATCH, frames - start))
        for total, labels, classes in zip(counts, (batch.phones, batch.speakers), names, strict=True):
            total += ClassTable.from_frames(batch.codes, labels, classes, size).counts
        voiced = np.isfinite(batch.f0_hz)
        table = ValueTable.from_frames(batch.codes[voiced], batch.f0_hz[voiced], size)
        count, f0_sum, f0_squares = count + table.count, f0_sum + table.total, f0_squares + table.squares
    phone, speaker = (ClassTable(tuple(sorted(classes)), total) for classes, total in zip(names, counts, strict=True))
    return phone, speaker, ValueTable(count, f0_sum, f0_squares)
