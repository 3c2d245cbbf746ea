"""Outputs against the hashes in dvc.lock, and DVC's cache and run cache against their own names.

DVC trusts a file whose time and size have not changed, and its cache whatever it holds. Here every byte is read again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from phonoscope.pipeline.integrity.faults import Fault


@dataclass(frozen=True)
class Output:
    """One output of a stage, as dvc.lock has it."""

    stage: str
    path: Path
    md5: str
    """Of a file; of a folder the hash of its listing, with the ending `.dir`."""
    cached: bool = True
    """Whether DVC brings it back from its cache; the others lie in git, and the run cache has a copy."""

    @property
    def rebuild(self) -> str:
        return f"run `dvc repro --force --single-item {self.stage}`"


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

    def fault(reason: str, *remove: str) -> Fault:
        return Fault(name, "workspace", reason, _restore(output, cache, output.md5, *remove))

    if not path.exists():
        return [fault(f"missing, though dvc.lock has it from stage {output.stage}")]
    if path.is_dir() != output.md5.endswith(".dir"):
        return [fault("a folder and a file have changed places", name)]
    differs = f"differs from dvc.lock (stage {output.stage})"
    if path.is_file():
        return [] if _md5_or_reason(path) == output.md5 else [fault(differs, name)]
    found = {file.relative_to(path).as_posix(): _md5_or_reason(file) for file in _files(path)}
    if folder_md5(found) == output.md5:
        return []
    locked = _listing(cache, output.md5)
    if locked is None:
        return [fault(differs, name)]
    return list(_compare(name, found, locked, output, cache))


def _md5_or_reason(path: Path) -> str:
    """A file's MD5; of one that cannot be read the reason, which equals no MD5."""
    try:
        return file_md5(path)
    except OSError as error:
        return str(error)


def _restore(output: Output, cache: Path, md5: str, *remove: str) -> str:
    """What brings back a file or folder of an output, whose object is `md5`, once `remove` is gone.

    It must go: DVC takes a file of unchanged size and time for what it was, and an object of its cache in any case.
    """
    objects = [cached_object(cache, each) for _, each in _parts(replace(output, md5=md5), cache)]
    damaged = [path.as_posix() for path in objects if path.is_file() and is_damaged(path)]
    if not output.cached:
        command = f"run `dvc repro --single-item {output.stage}`"
    elif damaged or not all(path.is_file() for path in objects):
        command = output.rebuild
    else:
        command = f"run `dvc checkout --force {output.path.as_posix()}`"
    gone = " and ".join(f"`{path}`" for path in (*remove, *damaged))
    return f"remove {gone}, then {command}" if gone else command


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _listing(cache: Path, md5: str) -> dict[str, str] | None:
    """The files of a folder as the cache lists them; None if the list is not there or damaged."""
    path = cached_object(cache, md5)
    if f"{_md5_or_reason(path)}.dir" != md5:
        return None
    return {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_bytes())}


def _compare(name: str, found: dict[str, str], locked: dict[str, str], output: Output, cache: Path) -> Iterator[Fault]:
    for file in sorted(found.keys() | locked.keys()):
        path = f"{name}/{file}"
        if file not in found:
            mend = _restore(output, cache, locked[file])
            yield Fault(path, "workspace", f"missing, though stage {output.stage} wrote it", mend)
        elif file not in locked:
            yield Fault(path, "workspace", f"not from stage {output.stage}", _remove(path))
        elif found[file] != locked[file]:
            mend = _restore(output, cache, locked[file], path)
            yield Fault(path, "workspace", f"differs from dvc.lock (stage {output.stage})", mend)


def cache_objects(cache: Path) -> list[Path]:
    """Every object of a cache folder (`files/md5`), without DVC's temporary files."""
    return [path for path in _files(cache) if len(path.parent.name) == 2 and not path.name.startswith(".")]


def is_damaged(path: Path) -> bool:
    """Whether an object of the cache is not what its name says."""
    return _md5_or_reason(path) != path.parent.name + path.name.removesuffix(".dir")


def check_cache(
    outputs: Collection[Output], cache: Path, damaged: Collection[Path], unsound: Collection[Path]
) -> Iterator[Fault]:
    """The `damaged` objects of a cache, and those it lacks; `unsound` are the outputs that differ in the workspace."""
    left = set(damaged)
    for output in sorted(outputs, key=lambda output: not output.cached):
        mend = output.rebuild if output.path in unsound else f"run `dvc commit --force {output.stage}`"
        for name, md5 in _parts(output, cache):
            path = cached_object(cache, md5)
            if path in left:
                left.remove(path)
                yield _damaged(path, f"{_remove(path)}, then {mend}" if output.cached else _remove(path))
            elif output.cached and not path.is_file():
                yield Fault(name, "cache", f"object {md5} is missing", mend)
    yield from (_damaged(path, _remove(path)) for path in left)


def _parts(output: Output, cache: Path) -> Iterator[tuple[str, str]]:
    """An output and the files in it, with their MD5."""
    yield output.path.as_posix(), output.md5
    if output.md5.endswith(".dir"):
        for file, md5 in (_listing(cache, output.md5) or {}).items():
            yield f"{output.path.as_posix()}/{file}", md5


def _damaged(path: Path, mend: str) -> Fault:
    return Fault(path.as_posix(), "cache", "the content does not match the name", mend)


def _remove(path: Path | str) -> str:
    return f"remove `{path}`"


def run_entries(runs: Path) -> list[Path]:
    """Every entry of DVC's run cache (`runs/<2 digits>/<hash>/<hash>`), without DVC's temporary files."""
    return [path for path in _files(runs) if not path.name.startswith(".")]


def check_run(path: Path) -> Fault | None:
    """An entry of the run cache against its names: the file is named by all it holds, the folder by what went in."""
    from ruamel.yaml import YAML

    try:
        entry = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        inputs = {**entry, "outs": [out["path"] for out in entry.get("outs", ())]}
        names = (path.name, path.parent.name)
        reason = "" if (_sha256(entry), _sha256(inputs)) == names else "the content does not match the name"
    except Exception as error:  # what a reader makes of damaged bytes cannot be foreseen
        reason = f"not readable ({' '.join(str(error).split())})"
    return Fault(path.as_posix(), "cache", reason, _remove(path)) if reason else None


def _sha256(value: Any) -> str:
    """The hash of a mapping as DVC's run cache takes it."""
    return hashlib.sha256(json.dumps(_hashed(value), sort_keys=True).encode()).hexdigest()


def _hashed(value: Any) -> Any:
    """`value` without the sizes, which DVC leaves out."""
    if isinstance(value, dict):
        return {key: _hashed(inner) for key, inner in value.items() if key not in ("size", "nfiles")}
    return [_hashed(inner) for inner in value] if isinstance(value, list) else value
