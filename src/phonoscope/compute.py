"""Seeds, threads, device, and the one way to spread work over processes or machines."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from joblib import Parallel, delayed
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from phonoscope.errors import EnvironmentFault

if TYPE_CHECKING:
    import torch

    from phonoscope.config.compute import ComputeConfig, DeviceName

T = TypeVar("T")
R = TypeVar("R")


def derive_seed(seed: int, *names: str | int) -> int:
    """The seed of one named piece of work: the same on every machine and in any order of the work."""
    digest = hashlib.sha256("\0".join([str(seed), *map(str, names)]).encode()).digest()
    return int.from_bytes(digest[:4], "big")


def setup_torch(config: ComputeConfig, seed: int) -> torch.device:
    """Fix torch's threads, deterministic algorithms and all seeds; return the device to work on."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with this
    import torch

    device = pick_device(config.device)
    torch.set_num_threads(config.torch_threads)
    # on accelerators reflection padding has no deterministic gradient: there, equal results are not promised;
    # this does what `use_deterministic_algorithms` does, but loads no compiler, which takes two seconds
    torch.set_deterministic_debug_mode("error" if device.type == "cpu" else "warn")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return device


def limit_threads(count: int = 1) -> threadpool_limits:
    """Context in which BLAS and OpenMP take `count` threads: sums depend on it in their last bits.

    A limit holds only for libraries that are loaded already, so this loads those of SciPy and scikit-learn first.
    """
    import scipy.linalg  # noqa: F401 (it loads its BLAS)
    import sklearn  # noqa: F401 (it loads its OpenMP)

    return threadpool_limits(count)


def pick_device(name: DeviceName) -> torch.device:
    """The device by name; `auto` takes CUDA, then Apple's MPS, then the CPU. Raises `EnvironmentFault`."""
    import torch

    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return torch.device(next(d for d in ("cuda", "mps", "cpu") if available[d]))
    if not available[name]:
        raise EnvironmentFault(f"torch has no device {name!r} on this machine; use auto or cpu")
    return torch.device(name)


def parallel_iter(
    function: Callable[[T], R], items: Iterable[T], *, workers: int = 1, description: str = ""
) -> Iterator[R]:
    """Apply a pure function to every item and yield the results in order, with a progress bar on a terminal.

    One worker runs in this process; more run under joblib's active backend (`joblib.parallel_config("dask")` spreads
    the same call over a Dask cluster).
    """
    work = [delayed(function)(item) for item in items]
    results = Parallel(n_jobs=workers, return_as="generator")(work)
    yield from tqdm(results, total=len(work), desc=description, disable=None, leave=False)


def parallel_map(function: Callable[[T], R], items: Iterable[T], *, workers: int = 1, description: str = "") -> list[R]:
    """`parallel_iter`, all results at once."""
    return list(parallel_iter(function, items, workers=workers, description=description))


def in_threads(config: ComputeConfig, *jobs: Callable[[], Any]) -> tuple[Any, ...]:
    """The results of different jobs, in parallel threads where there are several workers.

    For work whose time is spent in torch, which releases the interpreter; each job has its `torch_threads`.
    """
    if config.workers == 1:
        return tuple(job() for job in jobs)

    def start(job: Callable[[], Any]) -> Any:
        import torch

        torch.set_num_threads(config.torch_threads)
        return job()

    return tuple(Parallel(n_jobs=config.workers, prefer="threads")(delayed(start)(job) for job in jobs))
