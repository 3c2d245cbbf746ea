"""What is inside an artifact's file, by its form: whether it can be read whole and its numbers are finite."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1 << 22
"""Values of a memory-mapped array that are looked at together."""


def check_content(path: Path, may_be_nan: Collection[str] = ()) -> str | None:
    """Why a file cannot be used, or None; forms without a check pass. Columns in `may_be_nan` may hold NaN."""
    check = CHECKS.get(path.suffix.lower())
    if check is None:
        return None
    try:
        return check(path, may_be_nan)
    except ImportError:  # a missing package is no fault of the file
        raise
    except Exception as error:  # what a reader makes of damaged bytes cannot be foreseen, and none may end a check
        words = str(error).removeprefix(f"{path}: ") or type(error).__name__
        return f"not readable ({' '.join(words.split())})"


def _safetensors(path: Path, may_be_nan: Collection[str]) -> str | None:
    import torch

    from phonoscope.files import read_safetensors

    tensors, _ = read_safetensors(path)
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    return f"tensor {bad[0]} holds NaN or infinity" if bad else None


def _parquet(path: Path, may_be_nan: Collection[str]) -> str | None:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                for values in _floats(column):
                    allowed = pc.or_(pc.is_finite(values), pc.is_nan(values) if name in may_be_nan else False)
                    if not pc.all(allowed, min_count=0).as_py():
                        return f"column {name} holds NaN or infinity"
    return None


def _floats(column: pa.Array) -> Iterator[pa.Array]:
    """The floating-point values of a column, also within lists, structs and dictionaries."""
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        yield column
    elif pa.types.is_dictionary(column.type):
        yield from _floats(column.dictionary)
    elif pa.types.is_nested(column.type):
        inside = column.flatten()  # of a struct a list of its fields, of a list its values
        for part in inside if isinstance(inside, list) else [inside]:
            yield from _floats(part)


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

    def number(text: str) -> float:
        value = float(text)
        return value if math.isfinite(value) else refuse(text)  # 1e999 is infinity

    json.loads(path.read_text(encoding="utf-8"), parse_float=number, parse_constant=refuse)
    return None


def _csv(path: Path, may_be_nan: Collection[str]) -> str | None:
    """An empty cell is nothing: what does not apply to a row is written so."""
    import pandas as pd

    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name in frame:
        cells = frame[name].unique()
        numbers = _numbers(cells)
        if bad := [cell for cell, number in numbers.items() if not math.isfinite(number)]:
            return f"column {name} holds {bad[0]}"
    return None


def _numbers(cells: Iterable[str]) -> dict[str, float]:
    """The filled cells of a column of numbers; nothing of a column of text, where nan may be a name."""
    try:
        numbers = {cell: float(cell) for cell in cells if cell}
    except ValueError:
        return {}
    return numbers if any(math.isfinite(n) or cell in ("inf", "-inf") for cell, n in numbers.items()) else {}


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
