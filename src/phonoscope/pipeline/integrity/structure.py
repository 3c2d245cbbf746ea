"""Whether a file is there whole, told by its form alone: quick enough to be asked before every use.

What is inside, number by number, is `contents`'s question.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path


def check_structure(path: Path) -> str | None:
    """Why a file is not whole, or None. Of a large file only head and end are read; other forms pass."""
    check = CHECKS.get(path.suffix.lower())
    if check is None:
        return None
    try:
        if not path.stat().st_size:
            return "empty"
        return check(path)
    except ImportError:  # a missing package is no fault of the file
        raise
    except Exception as error:  # what a reader makes of damaged bytes cannot be foreseen
        return f"not readable, or cut off ({' '.join(str(error).split()) or type(error).__name__})"


def _parquet(path: Path) -> None:
    import pyarrow.parquet as pq

    pq.read_metadata(path)


def _safetensors(path: Path) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="np"):  # compares the header with the file's length
        pass


def _npy(path: Path) -> None:
    import numpy as np

    np.load(path, mmap_mode="r", allow_pickle=False)


def _json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


def _csv(path: Path) -> str | None:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return None if file.read() == b"\n" else "cut off: its last line has no end"


CHECKS: dict[str, Callable[[Path], str | None]] = {
    ".parquet": _parquet,
    ".safetensors": _safetensors,
    ".npy": _npy,
    ".json": _json,
    ".csv": _csv,
}
