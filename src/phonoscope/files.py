"""Writing artifacts: whole or not at all, and the same bytes for the same content.

Two processes may write the same file: everything is written under a temporary name beside its target, flushed to disk
and renamed.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonoscope.errors import DataError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    import torch


def _fsync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of `path`; replaces `path` on success, is removed on any error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # the suffix is kept: writers such as soundfile choose their format by it
    handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=f".tmp{path.suffix}", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        _fsync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_dir(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path`; replaces `path` whole on success, is removed on any error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        for file in sorted(p for p in temporary.rglob("*") if p.is_file()):
            _fsync(file)
        if path.exists():
            previous = Path(tempfile.mkdtemp(prefix=f".{path.name}-", suffix=".tmp", dir=path.parent))
            path.rename(previous / "old")
            temporary.rename(path)
            shutil.rmtree(previous)
        else:
            temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def require_finite(value: Any, key: str = "") -> None:
    """Raise `DataError` naming the key if a nested mapping holds anything but finite numbers.

    Tools that read metrics drop lists and null silently, and fail on NaN.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            require_finite(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"metric {key!r} is {value!r}; only finite numbers are written to metrics")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as JSON with sorted keys and a closing newline. Raises `ValueError` on NaN or infinity."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def write_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    """Write nested finite scalars as JSON. Raises `DataError` for anything else."""
    require_finite(metrics)
    write_json(path, metrics)


def write_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: Path, frame: pd.DataFrame, significant_digits: int = 9) -> None:
    """Write a tidy CSV: no index, Unix line ends, a fixed number of significant digits.

    Raises `ValueError` if a value lies outside its interval.
    """
    require_inside(path, frame)
    with atomic_file(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n", float_format=f"%.{significant_digits}g")


def require_inside(path: Path, frame: pd.DataFrame) -> None:
    """Raise `ValueError`, naming file and row, if a value lies outside its interval: a fault of the program.

    A value or an interval that is missing is inside.
    """
    for value, (low, high) in interval_columns(frame.columns).items():
        # missing numbers may make it a column of objects
        middle, left, right = (frame[name].astype(float) for name in (value, low, high))
        slack = 1e-9 * middle.abs()
        outside = (middle < left - slack) | (middle > right + slack)
        if outside.any():
            row = frame[outside].iloc[0].to_dict()
            raise ValueError(f"{path}: {value} lies outside its interval, {low} to {high}, in the row {row}")


def interval_columns(columns: Iterable[str]) -> dict[str, tuple[str, str]]:
    """The columns of a table that have an interval, and the columns of its bounds.

    The interval of a column `x` is in `x_low` and `x_high`; that of `difference`, or else `value`, also in `low` and
    `high` or in `ci_low` and `ci_high`.
    """
    names = list(columns)
    main, bounds = "difference" if "difference" in names else "value", {}
    for low in [name for name in names if name == "low" or name.endswith("_low")]:
        stem, high = low.removesuffix("low").removesuffix("_"), f"{low.removesuffix('low')}high"
        value = main if stem in ("", "ci") else stem
        if value in names and high in names:
            bounds[value] = low, high
    return bounds


def write_parquet(path: Path, table: pa.Table) -> None:
    """Write one Parquet file, zstd-compressed, without timestamps."""
    import pyarrow.parquet as pq

    with atomic_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def write_safetensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> None:
    """Write named tensors and JSON-able metadata.

    The metadata go under one key as sorted JSON: safetensors writes a map of several keys in random order.
    """
    from safetensors.torch import save_file

    with atomic_file(path) as temporary:
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(tensors.items())}
        save_file(contiguous, temporary, metadata={"phonoscope": json.dumps(metadata, sort_keys=True)})


def read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and metadata of `write_safetensors`. Raises `DataError` for a missing or unreadable file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("phonoscope", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 (not a dict)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (SafetensorError, ValueError, RecursionError, OSError) as error:
        raise DataError(f"{path}: not a readable safetensors file ({error})") from error


def read_torch(path: Path) -> Any:
    """Tensors and plain containers of a torch file; nothing is unpickled. Raises `DataError` naming the file."""
    import pickle

    import torch

    if not path.is_file():
        raise DataError(f"{path}: no such checkpoint; check the path")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a damaged file
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        if isinstance(error, pickle.UnpicklingError):
            reason = "it is damaged, or holds other objects than tensors, which are not read"
        raise DataError(f"{path}: not a torch checkpoint of weights ({reason})") from error
