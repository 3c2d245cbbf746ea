"""What is inside an artifact's file, by its form: whether it can be read whole and its numbers are finite."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from phonoscope.errors import DataError

BATCH = 1 << 22
"""Values of a memory-mapped array that are looked at together."""


def check_content(path: Path, may_be_nan: Collection[str] = ()) -> str | None:
    """Why a file cannot be used, or None; forms without a check pass. Columns in `may_be_nan` may hold NaN."""
    check = CHECKS.get(path.suffix.lower())
    if check is None:
        return None
    try:
        return check(path, may_be_nan)
    except (DataError, OSError, ValueError, EOFError, SyntaxError) as error:
        return f"not readable ({' '.join(str(error).removeprefix(f'{path}: ').split())})"


def _safetensors(path: Path, may_be_nan: Collection[str]) -> str | None:
    import torch

    from phonoscope.files import read_safetensors

    tensors, _ = read_safetensors(path)
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    return f"tensor {bad[0]} holds NaN or infinity" if bad else None


def _parquet(path: Path, may_be_nan: Collection[str]) -> str | None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                if pa.types.is_floating(column.type):
                    allowed = pc.or_(pc.is_finite(column), pc.is_nan(column) if name in may_be_nan else False)
                    if not pc.all(allowed, min_count=0).as_py():
                        return f"column {name} holds NaN or infinity"
    return None


def _npy(path: Path, may_be_nan: Collection[str]) -> str | None:
    import numpy as np

    array = np.load(path, mmap_mode="r", allow_pickle=False).reshape(-1)
    for start in range(0, len(array) if array.dtype.kind == "f" else 0, BATCH):
        if not np.isfinite(array[start : start + BATCH]).all():
            return "holds NaN or infinity"
    return None


def _json(path: Path, may_be_nan: Collection[str]) -> str | None:
    def refuse(constant: str) -> float:
        raise ValueError(f"it holds {constant}")

    json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    return None


def _csv(path: Path, may_be_nan: Collection[str]) -> str | None:
    import pandas as pd

    frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
    for name in frame:
        bad = [value for value in frame[name].dropna().unique() if _not_finite(value)]
        if bad:
            return f"column {name} holds {bad[0]}"
    return None


def _not_finite(value: Any) -> bool:
    try:
        return not math.isfinite(float(value))
    except (TypeError, ValueError):
        return False


def _audio(path: Path, may_be_nan: Collection[str]) -> str | None:
    import numpy as np

    from phonoscope.audio import read_audio

    return None if np.isfinite(read_audio(path)[0]).all() else "holds NaN or infinity"


def _image(path: Path, may_be_nan: Collection[str]) -> str | None:
    from PIL import Image

    with Image.open(path) as image:
        image.load()
    return None


CHECKS: dict[str, Callable[[Path, Collection[str]], str | None]] = {
    ".safetensors": _safetensors,
    ".parquet": _parquet,
    ".npy": _npy,
    ".json": _json,
    ".csv": _csv,
    ".flac": _audio,
    ".png": _image,
}
