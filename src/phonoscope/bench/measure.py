"""Time and memory of one piece of work, in a fresh process of its own."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Measured(Generic[T]):
    """What a piece of work gave, and what it cost."""

    value: T
    seconds: float
    """Wall-clock time."""
    peak_mb: float
    """Memory held at its highest, over what was held before, in 10^6 bytes."""


def measure(work: Callable[..., T], *inputs: Any, prepare: Callable[..., Any] | None = None) -> Measured[T]:
    """Run `work` in a new process, so that nothing else's memory counts.

    `prepare(*inputs)` makes the inputs there first: neither it nor the modules it loads is measured; without it,
    `inputs` are the inputs. Both functions stand at the top of a module; what `work` returns goes back by pickle.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, work, inputs, prepare).result()


def _measure(work: Callable[..., T], inputs: tuple[Any, ...], prepare: Callable[..., Any] | None) -> Measured[T]:
    made = (prepare(*inputs),) if prepare else inputs
    before, start = peak_bytes(), time.perf_counter()
    value = work(*made)
    seconds = time.perf_counter() - start
    return Measured(value, seconds, (peak_bytes() - before) / 1e6)


def median_s(work: Callable[[], Any], rounds: int) -> float:
    """Median wall-clock time of `rounds` calls in this process, after one that is not counted."""
    work()
    spent = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return median(spent)


def peak_bytes() -> int:
    """The most memory this process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage there starts from the parent's peak
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
