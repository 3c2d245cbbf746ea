"""Outputs compared with the hashes in dvc.lock; files of DVC's cache and run cache compared with their names.

DVC trusts its cache, and every file of unchanged time and size. These checks read every byte again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from phonoscope.errors import DataError
from phonoscope.pipeline.integrity.contents import contents
from phonoscope.pipeline.integrity.faults import Fault
from phonoscope.tracking.provenance import folder_md5


@dataclass(frozen=True)
class Output:
    """One output of a stage in dvc.lock."""

    stage: str
    path: Path
    md5: str
    """Hash of a file, or of a folder's listing, with the ending `.dir`."""
    cached: bool = True
    """Whether DVC restores it from its cache; other outputs are in git, with a copy in the run cache."""

    @property
    def rebuild(self) -> str:
        """The command that makes it again."""
        return f"run `dvc repro --force --single-item {self.stage}`"


@dataclass(frozen=True)
class Locked:
    """The content of dvc.lock."""

    outputs: list[Output]
    runs: Path
    """The folder of DVC's run cache."""
    cache: Path
    """The folder of DVC's cache."""
    faults: list[Fault] = field(default_factory=list)
    """Stages that have no lock."""


def locked_outputs(root: Path) -> Locked:
    """The outputs in the dvc.lock of `root`. Raises `DataError` if DVC cannot read its files."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            runs, cache = Path(repo.stage_cache.cache_dir), Path(repo.cache.local.path)
            outs = [(out, getattr(out.stage, "name", "")) for out in repo.index.outs]
    except DvcException as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{root / 'dvc.lock'}: {reason}; `phonoscope doctor` says how to fix it") from error
    outputs, never = [], set()
    for out, stage in outs:
        if out.hash_info and out.hash_info.value:
            path = Path(out.fs_path).relative_to(root.resolve())
            outputs.append(Output(stage, path, out.hash_info.value, out.use_cache))
        else:
            never.add(stage)
    reason = "dvc.lock has no hash of its outputs: it has not run"
    faults = [Fault(stage, "workspace", reason, f"run `dvc repro {stage}`") for stage in sorted(never)]
    return Locked(outputs, runs, cache, faults)


def file_md5(path: Path) -> str:
    """MD5 of a file's bytes, as DVC 3 computes it. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def cached_object(cache: Path, md5: str) -> Path:
    """The path of an object in DVC's cache."""
    return cache / md5[:2] / md5[2:]


def check_output(root: Path, output: Output, cache: Path) -> list[Fault]:
    """Faults of an output in the workspace at `root`; names the files of a folder if `cache` still has its listing."""
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
    present = {file.relative_to(path).as_posix(): _md5_or_reason(file) for file in contents(path)}
    if folder_md5(present) == output.md5:
        return []
    locked = _listing(cache, output.md5)
    if locked is None:
        return [fault(differs, name)]
    return list(_compare(name, present, locked, output, cache))


def _md5_or_reason(path: Path) -> str:
    """A file's MD5, or the error of reading it, which equals no MD5."""
    try:
        return file_md5(path)
    except OSError as error:
        return str(error)


def _restore(output: Output, cache: Path, md5: str, *remove: str) -> str:
    """How to restore a file or folder of an output, whose object is `md5`, after removing `remove`.

    Removal is necessary: DVC trusts a file of unchanged size and time, and every object of its cache.
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


def _listing(cache: Path, md5: str) -> dict[str, str] | None:
    """The files of a folder as the cache lists them; None if the list is missing or damaged."""
    path = cached_object(cache, md5)
    if f"{_md5_or_reason(path)}.dir" != md5:
        return None
    return {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_bytes())}


def _compare(
    name: str, present: dict[str, str], locked: dict[str, str], output: Output, cache: Path
) -> Iterator[Fault]:
    """Faults of a folder's files by their MD5, present and locked."""
    for file in sorted(present.keys() | locked.keys()):
        path = f"{name}/{file}"
        if file not in present:
            fix = _restore(output, cache, locked[file])
            yield Fault(path, "workspace", f"missing, though stage {output.stage} wrote it", fix)
        elif file not in locked:
            yield Fault(path, "workspace", f"not from stage {output.stage}", _remove(path))
        elif present[file] != locked[file]:
            fix = _restore(output, cache, locked[file], path)
            yield Fault(path, "workspace", f"differs from dvc.lock (stage {output.stage})", fix)


def cache_objects(cache: Path) -> list[Path]:
    """Every object of a cache folder (`files/md5`), without DVC's temporary files."""
    return [path for path in contents(cache) if len(path.parent.name) == 2 and not path.name.startswith(".")]


def is_damaged(path: Path) -> bool:
    """Whether the content of a cache object does not match its name."""
    return _md5_or_reason(path) != path.parent.name + path.name.removesuffix(".dir")


def check_cache(
    outputs: Collection[Output], cache: Path, damaged: Collection[Path], unsound: Collection[Path]
) -> Iterator[Fault]:
    """Faults of a cache: `damaged` objects and missing ones. `unsound` are the outputs that differ in the workspace."""
    left = set(damaged)
    for output in sorted(outputs, key=lambda output: not output.cached):
        fix = output.rebuild if output.path in unsound else f"run `dvc commit --force {output.stage}`"
        for name, md5 in _parts(output, cache):
            path = cached_object(cache, md5)
            if path in left:
                left.remove(path)
                yield _damaged(path, f"{_remove(path)}, then {fix}" if output.cached else _remove(path))
            elif output.cached and not path.is_file():
                yield Fault(name, "cache", f"object {md5} is missing", fix)
    yield from (_damaged(path, _remove(path)) for path in left)


def _parts(output: Output, cache: Path) -> Iterator[tuple[str, str]]:
    """An output and the files in it, with their MD5."""
    yield output.path.as_posix(), output.md5
    if output.md5.endswith(".dir"):
        for file, md5 in (_listing(cache, output.md5) or {}).items():
            yield f"{output.path.as_posix()}/{file}", md5


def _damaged(path: Path, fix: str) -> Fault:
    return Fault(path.as_posix(), "cache", "the content does not match the name", fix)


def _remove(path: Path | str) -> str:
    return f"remove `{path}`"


def run_entries(runs: Path) -> list[Path]:
    """Every entry of DVC's run cache (`runs/<2 digits>/<hash>/<hash>`), without DVC's temporary files."""
    return [path for path in contents(runs) if not path.name.startswith(".")]


def check_run(path: Path) -> Fault | None:
    """The fault of an entry of the run cache, if any. The file is named after all, its folder after the inputs."""
    from ruamel.yaml import YAML

    try:
        entry = YAML(typ="safe").load(path.read_text(encoding="utf-8"))
        inputs = {**entry, "outs": [out["path"] for out in entry.get("outs", ())]}
        names = (path.name, path.parent.name)
        reason = "" if (_sha256(entry), _sha256(inputs)) == names else "the content does not match the name"
    except Exception as error:  # readers fail on damaged bytes in unforeseen ways
        reason = f"not readable ({' '.join(str(error).split())})"
    return Fault(path.as_posix(), "cache", reason, _remove(path)) if reason else None


def _sha256(value: Any) -> str:
    """The hash of a mapping, as DVC's run cache computes it."""
    return hashlib.sha256(json.dumps(_hashed(value), sort_keys=True).encode()).hexdigest()


def _hashed(value: Any) -> Any:
    """`value` without the sizes, which DVC leaves out."""
    if isinstance(value, dict):
        return {key: _hashed(inner) for key, inner in value.items() if key not in ("size", "nfiles")}
    return [_hashed(inner) for inner in value] if isinstance(value, list) else value
