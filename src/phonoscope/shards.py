"""Long work in shards that outlive an interruption.

Finished shards are kept in a folder of their own. A shard's name is a hash of everything that its result depends on, so
that a stale one is never used.
"""

import errno
import hashlib
import json
import os
import platform
import shutil
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from phonoscope.compute import parallel_iter
from phonoscope.files import atomic_dir

T = TypeVar("T")
NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK)  # no hard links here, or not to there


@cache
def code_digest() -> str:
    """A hash of this package's code, of Python's version and of every installed package."""
    root = Path(__file__).parent
    versions = sorted((package.name, package.version) for package in metadata.distributions())
    digest = hashlib.sha256(json.dumps([platform.python_version(), versions]).encode())
    for path in sorted(root.rglob("*.py")):
        digest.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def shard_key(*parts: Any, files: Iterable[Path] = ()) -> str:
    """A hash of JSON-able values, of the contents of files and of the code. Of an unreadable file the error counts."""
    digest = hashlib.sha256(json.dumps([code_digest(), *parts], sort_keys=True).encode())
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except (OSError, ValueError) as error:  # a name with NUL is a ValueError
            digest.update(str(error).encode())
    return digest.hexdigest()


def resumable(
    function: Callable[[T, Path], None],
    shards: Iterable[T],
    key: Callable[[T], str],
    folder: Path,
    *,
    workers: int = 1,
    description: str = "",
) -> Iterator[Path]:
    """Let `function` write the results of every shard into its own folder; yield these folders in order.

    The folders are below `folder` and named by `key`, a `shard_key` of everything that the results depend on. Those of
    an earlier run are reused. `folder` is removed after the last.
    """
    yield from parallel_iter(partial(_make, function, key, folder), shards, workers=workers, description=description)
    shutil.rmtree(folder, ignore_errors=True)


def _make(function: Callable[[T, Path], None], key: Callable[[T], str], folder: Path, shard: T) -> Path:
    path = folder / key(shard)
    if not path.is_dir():
        with atomic_dir(path) as temporary:
            function(shard, temporary)
    return path


def take_files(source: Path, folder: Path) -> None:
    """Link all files below `source` into `folder`; copy them where the file system has no hard links."""
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        target = folder / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(file, target)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            shutil.copyfile(file, target)
