"""The content of one file: whether it is whole (a quick check before every use), and whether its numbers are finite."""

from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from safetensors import safe_open

from phonoscope.audio import read_audio
from phonoscope.errors import DataError
from phonoscope.files import read_safetensors

BATCH = 1 << 22  # values of a memory-mapped array that are checked together
NOT_FINITE = "holds NaN or infinity"
Check = Callable[[Path], object]  # a text is the reason why the file is not sound, and so is an error


def check_whole(path: Path) -> str | None:
    """The reason why a file is not whole by its head and end, or None. Raises `OSError` for one of the machine."""
    check = WHOLE.get(path.suffix.lower())
    return "empty" if check and not path.stat().st_size else refusal(check, path, "not readable, or cut off", True)


def check_content(path: Path) -> str | None:
    """The reason why a file cannot be used, or None. Reads the whole file; unknown formats pass."""
    return refusal(CONTENT.get(path.suffix.lower()), path, "not readable")


def contents(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def refusal(check: Check | None, path: Path, unreadable: str, strict: bool = False) -> str | None:
    """What a check, if there is one, says of a file; `unreadable`, with the error, if it fails.

    An error of the machine is raised if `strict`; otherwise it, too, is a reason: a sector may be broken.
    """
    try:
        said = check(path) if check else None
        return said if isinstance(said, str) else None
    except Exception as error:  # readers fail on damaged bytes in unforeseen ways; the check goes on
        ours = isinstance(error, DataError)
        if isinstance(error, ImportError) or (strict and of_the_machine(error.__cause__ if ours else error)):
            raise  # not the file's fault
        words = " ".join(str(error).split()) or type(error).__name__
        return str(error).removeprefix(f"{path}: ") if ours else f"{unreadable} ({words})"


def of_the_machine(error: BaseException | None) -> bool:
    """Whether this is a system error that no file causes; Arrow's errors have no number."""
    return isinstance(error, OSError) and error.errno not in (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)


def _whole_csv(path: Path) -> str | None:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return None if file.read() == b"\n" else "cut off: its last line has no end"


def _safetensors(path: Path) -> str | None:
    import torch

    tensors, _ = read_safetensors(path)
    bad = [name for name, tensor in tensors.items() if tensor.is_floating_point() and not torch.isfinite(tensor).all()]
    return f"tensor {bad[0]} {NOT_FINITE}" if bad else None


def _parquet(path: Path) -> str | None:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                for values in _floats(column):  # in f0_hz, NaN means: no pitch
                    allowed = pc.or_(pc.is_finite(values), pc.is_nan(values) if name == "f0_hz" else False)
                    if not pc.all(allowed, min_count=0).as_py():
                        return f"column {name} {NOT_FINITE}"
    return None


def _floats(column: pa.Array) -> Iterator[pa.Array]:
    """The floating-point values of a column, also inside lists, structs and dictionaries."""
    if pa.types.is_floating(column.type):
        yield column
    elif pa.types.is_dictionary(column.type):
        yield from _floats(column.dictionary)
    elif pa.types.is_nested(column.type):
        inside = column.flatten()  # a struct gives a list of its fields, a list its values
        for part in inside if isinstance(inside, list) else [inside]:
            yield from _floats(part)


def _npy(path: Path) -> str | None:
    array = np.load(path, mmap_mode="r", allow_pickle=False).reshape(-1)
    starts = range(0, len(array) if array.dtype.kind == "f" else 0, BATCH)
    return None if all(np.isfinite(array[start : start + BATCH]).all() for start in starts) else NOT_FINITE


def _json(path: Path) -> None:
    def refuse(constant: str) -> float:
        raise ValueError(f"it holds {constant}")

    def number(text: str) -> float:
        value = float(text)
        return value if math.isfinite(value) else refuse(text)  # 1e999 is infinity

    json.loads(path.read_text(encoding="utf-8"), parse_float=number, parse_constant=refuse)


def _csv(path: Path) -> str | None:
    """Ignores empty cells: the column does not apply to that row. In a column of text, nan may be a name."""
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name in frame:
        cells = [cell for cell in frame[name].unique() if cell]
        try:
            finite = np.isfinite(np.array(cells, dtype=float))
        except ValueError:
            continue
        if not finite.all() and (finite.any() or {"inf", "-inf"} & set(cells)):
            return f"column {name} holds {cells[int(finite.argmin())]}"
    return None


def _audio(path: Path) -> str | None:
    return None if np.isfinite(read_audio(path)[0]).all() else NOT_FINITE


def _image(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        image.load()


WHOLE: dict[str, Check] = {
    ".parquet": pq.read_metadata,
    ".safetensors": partial(safe_open, framework="np"),  # compares the header with the file's length
    ".npy": partial(np.load, mmap_mode="r", allow_pickle=False),
    ".json": _json,
    ".csv": _whole_csv,
}
CONTENT: dict[str, Check] = {
    ".safetensors": _safetensors,
    ".parquet": _parquet,
    ".npy": _npy,
    ".json": _json,
    ".csv": _csv,
    ".flac": _audio,
    ".png": _image,
}
