"""The content of one file: whether it is whole (a quick check before every use), and whether its numbers are finite."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 1 << 22
"""Values of a memory-mapped array that are checked together."""
MAY_BE_NAN = ("f0_hz",)
"""Columns in which NaN means: no pitch."""


def check_whole(path: Path) -> str | None:
    """The reason why a file is not whole, or None. Reads only the head and the end; unknown formats pass."""
    if path.suffix.lower() in WHOLE and not path.stat().st_size:
        return "empty"
    return _reason(WHOLE, path, "not readable, or cut off")


def check_content(path: Path) -> str | None:
    """The reason why a file cannot be used, or None. Reads the whole file; unknown formats pass."""
    return _reason(CONTENT, path, "not readable")


def _reason(checks: dict[str, Callable[[Path], str | None]], path: Path, unreadable: str) -> str | None:
    check = checks.get(path.suffix.lower())
    try:
        return check(path) if check else None
    except ImportError:  # a missing package is not the file's fault
        raise
    except Exception as error:  # readers fail on damaged bytes in unforeseen ways; the check goes on
        words = str(error).removeprefix(f"{path}: ") or type(error).__name__
        return f"{unreadable} ({' '.join(words.split())})"


def _whole_parquet(path: Path) -> None:
    import pyarrow.parquet as pq

    pq.read_metadata(path)


def _whole_safetensors(path: Path) -> None:
    from safetensors import safe_open

    with safe_open(path, framework="np"):  # compares the header with the file's length
        pass


def _whole_npy(path: Path) -> None:
    import numpy as np

    np.load(path, mmap_mode="r", allow_pickle=False)


def _whole_json(path: Path) -> None:
    json.loads(path.read_text(encoding="utf-8"))


def _whole_csv(path: Path) -> str | None:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return None if file.read() == b"\n" else "cut off: its last line has no end"


def _safetensors(path: Path) -> str | None:
    import torch

    from phonoscope.files import read_safetensors

    tensors, _ = read_safetensors(path)
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    return f"tensor {bad[0]} holds NaN or infinity" if bad else None


def _parquet(path: Path) -> str | None:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                for values in _floats(column):
                    allowed = pc.or_(pc.is_finite(values), pc.is_nan(values) if name in MAY_BE_NAN else False)
                    if not pc.all(allowed, min_count=0).as_py():
                        return f"column {name} holds NaN or infinity"
    return None


def _floats(column: pa.Array) -> Iterator[pa.Array]:
    """The floating-point values of a column, also inside lists, structs and dictionaries."""
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        yield column
    elif pa.types.is_dictionary(column.type):
        yield from _floats(column.dictionary)
    elif pa.types.is_nested(column.type):
        inside = column.flatten()  # a struct gives a list of its fields, a list its values
        for part in inside if isinstance(inside, list) else [inside]:
            yield from _floats(part)


def _npy(path: Path) -> str | None:
    import numpy as np

    array = np.load(path, mmap_mode="r", allow_pickle=False).reshape(-1)
    for start in range(0, len(array) if array.dtype.kind == "f" else 0, BATCH):
        if not np.isfinite(array[start : start + BATCH]).all():
            return "holds NaN or infinity"
    return None


def _json(path: Path) -> None:
    def refuse(constant: str) -> float:
        raise ValueError(f"it holds {constant}")

    def number(text: str) -> float:
        value = float(text)
        return value if math.isfinite(value) else refuse(text)  # 1e999 is infinity

    json.loads(path.read_text(encoding="utf-8"), parse_float=number, parse_constant=refuse)


def _csv(path: Path) -> str | None:
    """Ignores empty cells: the column does not apply to that row."""
    import pandas as pd

    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name in frame:
        numbers = _numbers(frame[name].unique())
        if bad := [cell for cell, number in numbers.items() if not math.isfinite(number)]:
            return f"column {name} holds {bad[0]}"
    return None


def _numbers(cells: Iterable[str]) -> dict[str, float]:
    """The non-empty cells of a column of numbers; empty for a column of text, where nan may be a name."""
    try:
        numbers = {cell: float(cell) for cell in cells if cell}
    except ValueError:
        return {}
    return numbers if any(math.isfinite(n) or cell in ("inf", "-inf") for cell, n in numbers.items()) else {}


def _audio(path: Path) -> str | None:
    import numpy as np

    from phonoscope.audio import read_audio

    return None if np.isfinite(read_audio(path)[0]).all() else "holds NaN or infinity"


def _image(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        image.load()


WHOLE: dict[str, Callable[[Path], str | None]] = {
    ".parquet": _whole_parquet,
    ".safetensors": _whole_safetensors,
    ".npy": _whole_npy,
    ".json": _whole_json,
    ".csv": _whole_csv,
}
CONTENT: dict[str, Callable[[Path], str | None]] = {
    ".safetensors": _safetensors,
    ".parquet": _parquet,
    ".npy": _npy,
    ".json": _json,
    ".csv": _csv,
    ".flac": _audio,
    ".png": _image,
}


def contents(path: Path) -> list[Path]:
    """A file, or the files of a folder."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
