"""Long work in shards that outlive an interruption.

DVC deletes a stage's outputs before it runs, so what a killed stage had finished is kept elsewhere, in a folder that no
stage depends on. A shard's name is a hash of all that its result rests on, so a stale one is never taken up.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from phonoscope.compute import parallel_iter
from phonoscope.files import atomic_dir

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
Tables = Mapping[str, "pa.Table"]


@cache
def code_digest() -> str:
    """A hash of this package's code and of what runs it."""
    root = Path(__file__).parent
    versions = {name: metadata.version(name) for name in ("numpy", "torch")}
    digest = hashlib.sha256(json.dumps([platform.python_version(), versions]).encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def shard_key(*parts: Any, files: Iterable[Path] = ()) -> str:
    """A hash of JSON-able values, of files' contents and of the code."""
    digest = hashlib.sha256(json.dumps([code_digest(), *parts], sort_keys=True).encode())
    for path in files:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def resumable(
    function: Callable[[T], Tables],
    shards: Iterable[tuple[str, T]],
    folder: Path,
    *,
    workers: int = 1,
    description: str = "",
) -> Iterator[dict[str, pa.Table]]:
    """Apply a pure function to every shard and yield the tables it gives, by name, in order.

    `shards` are pairs of a `shard_key` and the function's argument. Results go by way of `folder`: those that an
    earlier run left there are read, not made again. `folder` is removed after the last.
    """
    for path in parallel_iter(partial(_make, function, folder), shards, workers=workers, description=description):
        yield _read(path)
    shutil.rmtree(folder, ignore_errors=True)


def _make(function: Callable[[T], Tables], folder: Path, shard: tuple[str, T]) -> Path:
    """The folder of one shard's tables, made if it is not there."""
    import pyarrow.parquet as pq

    key, argument = shard
    path = folder / key
    if not path.is_dir():
        with atomic_dir(path) as temporary:
            for name, table in function(argument).items():
                pq.write_table(table, temporary / f"{name}.parquet", compression="zstd")
    return path


def _read(path: Path) -> dict[str, pa.Table]:
    import pyarrow.parquet as pq

    return {file.stem: pq.read_table(file) for file in sorted(path.glob("*.parquet"))}
