"""Time and memory of one function call, measured in a new process."""

import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Measured(NamedTuple, Generic[T]):
    """Return value and cost of one call."""

    value: T
    seconds: float  # wall-clock time
    peak_mb: float  # peak memory minus the memory before the call, in 10^6 bytes


def measure(work: Callable[[Any], T], *inputs: Any, prepare: Callable[..., Any]) -> Measured[T]:
    """Run `work` in a new process, so that only its memory counts.

    `prepare(*inputs)` runs there first and returns the input of `work`; its time and memory, and the modules it loads,
    do not count. Both must be module-level functions, or partials of them (they are pickled).
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measure, work, inputs, prepare).result()


def _measure(work: Callable[[Any], T], inputs: tuple[Any, ...], prepare: Callable[..., Any]) -> Measured[T]:
    prepared = prepare(*inputs)
    before, start = peak_bytes(), time.perf_counter()
    value = work(prepared)
    seconds = time.perf_counter() - start
    return Measured(value, seconds, (peak_bytes() - before) / 1e6)


def median_s(work: Callable[[], Any], rounds: int) -> float:
    """Median wall-clock time of `rounds` calls in this process, after one untimed call."""
    work()
    spent = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        spent.append(time.perf_counter() - start)
    return median(spent)


def peak_bytes() -> int:
    """Peak resident memory of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: getrusage of a child starts at its parent's peak
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
