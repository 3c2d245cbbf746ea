"""Outputs against the hashes in dvc.lock, and the objects of DVC's cache against their names.

DVC trusts a file whose time and size have not changed, and its cache whatever it holds. Here every byte is read again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from phonoscope.integrity.faults import Fault


@dataclass(frozen=True)
class Output:
    """One output of a stage, as dvc.lock has it."""

    stage: str
    path: Path
    md5: str
    """Of a file; of a folder the hash of its listing, with the ending `.dir`."""

    @property
    def mend(self) -> str:
        return f"run `dvc checkout --force {self.path.as_posix()}`, or `dvc repro --force --single-item {self.stage}`"


def file_md5(path: Path) -> str:
    """MD5 of a file's bytes, as DVC 3 takes it. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def folder_md5(files: dict[str, str]) -> str:
    """MD5 of a folder from the MD5s of its files by relative path, as DVC 3 takes it."""
    listing = [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
    return f"{hashlib.md5(json.dumps(listing).encode(), usedforsecurity=False).hexdigest()}.dir"


def cached_object(cache: Path, md5: str) -> Path:
    """Where DVC's cache keeps an object."""
    return cache / md5[:2] / md5[2:]


def check_output(root: Path, output: Output, cache: Path) -> list[Fault]:
    """An output in the workspace at `root`; of a folder each file is named, where `cache` still has its listing."""
    path = root / output.path
    name = output.path.as_posix()
    if not path.exists():
        return [Fault(name, "workspace", f"missing, though dvc.lock has it from stage {output.stage}", output.mend)]
    if path.is_dir() != output.md5.endswith(".dir"):
        return [Fault(name, "workspace", "a folder and a file have changed places", output.mend)]
    if path.is_file():
        return [] if file_md5(path) == output.md5 else [_differs(name, output)]
    found = {file.relative_to(path).as_posix(): file_md5(file) for file in _files(path)}
    if folder_md5(found) == output.md5:
        return []
    locked = _listing(cache, output.md5)
    if locked is None:
        return [_differs(name, output)]
    return list(_compare(name, found, locked, output))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _differs(name: str, output: Output) -> Fault:
    return Fault(name, "workspace", f"differs from dvc.lock (stage {output.stage})", output.mend)


def _listing(cache: Path, md5: str) -> dict[str, str] | None:
    """The files of a folder as the cache lists them; None if the list is not there or damaged."""
    path = cached_object(cache, md5)
    if not path.is_file() or f"{file_md5(path)}.dir" != md5:
        return None
    return {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_bytes())}


def _compare(name: str, found: dict[str, str], locked: dict[str, str], output: Output) -> Iterator[Fault]:
    for file in sorted(found.keys() | locked.keys()):
        if file not in found:
            yield Fault(f"{name}/{file}", "workspace", f"missing, though stage {output.stage} wrote it", output.mend)
        elif file not in locked:
            yield Fault(f"{name}/{file}", "workspace", f"not from stage {output.stage}", "remove it")
        elif found[file] != locked[file]:
            yield _differs(f"{name}/{file}", output)


def cache_objects(cache: Path) -> list[Path]:
    """Every object of a cache folder (`files/md5`), without DVC's temporary files."""
    return [path for path in _files(cache) if len(path.parent.name) == 2 and not path.name.startswith(".")]


def check_object(path: Path) -> Fault | None:
    """An object of the cache against its name."""
    name = path.parent.name + path.name.removesuffix(".dir")
    if file_md5(path) == name:
        return None
    return Fault(
        path.as_posix(),
        "cache",
        "the content does not match the name",
        "remove it, then `dvc fetch`, or `dvc commit` the stage that wrote it once `phonoscope verify` finds its "
        "output in the workspace sound",
    )


def check_cached(output: Output, cache: Path) -> Iterator[Fault]:
    """Whether the cache holds an output whole."""
    mend = f"run `dvc fetch`, or `dvc commit --force {output.stage}` while its output in the workspace is sound"
    if not cached_object(cache, output.md5).is_file():
        yield Fault(output.path.as_posix(), "cache", f"object {output.md5} is missing", mend)
        return
    for name, md5 in sorted((_listing(cache, output.md5) or {}).items() if output.md5.endswith(".dir") else ()):
        if not cached_object(cache, md5).is_file():
            yield Fault(f"{output.path.as_posix()}/{name}", "cache", f"object {md5} is missing", mend)
