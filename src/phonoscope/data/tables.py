"""Reading Parquet, NumPy and JSON files, with errors that name the file; columns and rows by utterance."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from phonoscope.errors import DataError


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put `path` before the message of a `DataError` that does not name it; wrong types of values are one, too."""
    try:
        yield
    except (DataError, TypeError) as error:
        raise DataError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from error


def read_frame(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a Parquet table. Raises `DataError` if the file is missing, not readable or lacks a column."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        return pd.read_parquet(path, columns=None if columns is None else list(columns))
    except (OSError, ValueError, MemoryError) as error:  # Arrow's own errors are among these
        raise DataError(f"{path}: not a readable table ({error})") from error


def open_array(path: Path) -> NDArray[Any]:
    """Memory-map a .npy file, read-only. Raises `DataError` if the file is missing, damaged or truncated."""
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy reads the header as Python text and raises whatever its parser raises
        raise DataError(f"{path}: not readable, or truncated ({error})") from error


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises `DataError` if the file is missing or not readable."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (ValueError, RecursionError, OSError) as error:
        raise DataError(f"{path}: not readable as JSON ({error})") from error


def text_column(lengths: Mapping[str, int]) -> pa.DictionaryArray:
    """A dictionary column that repeats each name as often as its length says."""
    index = np.repeat(np.arange(len(lengths), dtype=np.int32), list(lengths.values()))
    return pa.DictionaryArray.from_arrays(pa.array(index), pa.array(list(lengths), pa.string()))


def rows_by_utterance(utterances: pd.Series) -> dict[str, NDArray[np.int64]]:
    """The rows of each utterance, in the table's order; utterances in order of appearance."""
    codes, names = pd.factorize(utterances.astype(object))
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    return {str(name): order[bounds[i] : bounds[i + 1]] for i, name in enumerate(names)}
