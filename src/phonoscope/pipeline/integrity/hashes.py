"""Outputs compared with the hashes in dvc.lock; files of DVC's cache and run cache compared with their names.

DVC trusts its cache, and every file of unchanged time and size. These checks read every byte again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from phonoscope.errors import DataError
from phonoscope.pipeline.integrity.contents import contents
from phonoscope.pipeline.integrity.faults import Fault
from phonoscope.tracking.provenance import folder_md5

MISMATCH = "the content does not match the name"


@dataclass(frozen=True)
class Output:
    """One output of a stage in dvc.lock. `cached`: DVC restores it from its cache; others are in git."""

    stage: str
    path: Path
    md5: str
    """Hash of a file, or of a folder's listing, with the ending `.dir`."""
    cached: bool = True

    @property
    def rebuild(self) -> str:
        return f"run `dvc repro --force --single-item {self.stage}`"


class Locked(NamedTuple):
    """The outputs in dvc.lock, the folders of DVC's run cache and cache, and a fault for each stage without a lock."""

    outputs: list[Output]
    runs: Path
    cache: Path
    faults: list[Fault]


def locked_outputs(root: Path) -> Locked:
    """The outputs in the dvc.lock of `root`. Raises `DataError` if DVC cannot read its files."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            runs, cache = Path(repo.stage_cache.cache_dir), Path(repo.cache.local.path)
            outs = [
                (out, getattr(out.stage, "name", ""), out.hash_info and out.hash_info.value) for out in repo.index.outs
            ]
    except DvcException as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{root / 'dvc.lock'}: {reason}; `phonoscope doctor` says how to fix it") from error
    every = [Output(name, Path(out.fs_path).relative_to(root.resolve()), md5, out.use_cache) for out, name, md5 in outs]
    reason = "dvc.lock has no hash of its outputs: it has not run"
    never = sorted({output.stage for output in every if not output.md5})
    faults = [Fault(name, "workspace", reason, f"run `dvc repro {name}`") for name in never]
    return Locked([output for output in every if output.md5], runs, cache, faults)


def file_md5(path: Path) -> str:
    """MD5 of a file's bytes, as DVC 3 computes it; or the error of reading it, which equals no MD5."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        return str(error)


def cached_object(cache: Path, md5: str) -> Path:
    return cache / md5[:2] / md5[2:]


def check_output(root: Path, output: Output, cache: Path) -> list[Fault]:
    """Faults of an output in the workspace at `root`; names the files of a folder if `cache` still has its listing."""
    path, name = root / output.path, output.path.as_posix()
    present, locked = {name: "of another kind"}, {name: output.md5}
    if not path.exists():
        present = {}
    elif path.is_file():
        present = {name: file_md5(path)}
    elif output.md5.endswith(".dir"):
        files = {file.relative_to(path).as_posix(): file_md5(file) for file in contents(path)}
        present = {name: folder_md5(files)}
        if present != locked and (listing := _listing(cache, output.md5)) is not None:
            present, locked = ({f"{name}/{file}": md5 for file, md5 in part.items()} for part in (files, listing))

    def fault(file: str) -> Fault:
        if file not in locked:
            return Fault(file, "workspace", f"not from stage {output.stage}", f"remove `{file}`")
        reason = "differs from dvc.lock" if file in present else "missing, though dvc.lock has it"
        fix = _restore(output, cache, locked[file], [file] if file in present else [])
        return Fault(file, "workspace", f"{reason} (stage {output.stage})", fix)

    return [fault(file) for file in sorted(present.keys() | locked) if present.get(file) != locked.get(file)]


def _restore(output: Output, cache: Path, md5: str, remove: list[str]) -> str:
    """How to restore a file or folder, whose object is `md5`. DVC trusts what it finds: `remove` must go first."""
    objects = [cached_object(cache, each) for each in (md5, *(_listing(cache, md5) or {}).values())]
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
    """The files of a folder as the cache lists them; None for a file, or if the list is missing or damaged."""
    path = cached_object(cache, md5)
    if not md5.endswith(".dir") or is_damaged(path):
        return None
    return {entry["relpath"]: entry["md5"] for entry in json.loads(path.read_bytes())}


def cache_objects(cache: Path) -> list[Path]:
    """Every object of a cache folder (`files/md5`), without DVC's temporary files."""
    return [path for path in contents(cache) if len(path.parent.name) == 2 and not path.name.startswith(".")]


def is_damaged(path: Path) -> bool:
    return file_md5(path) != path.parent.name + path.name.removesuffix(".dir")


def check_cache(
    outputs: Collection[Output], cache: Path, damaged: Collection[Path], unsound: Collection[Path]
) -> Iterator[Fault]:
    """Faults of a cache: `damaged` objects and missing ones. `unsound` are the outputs that differ in the workspace."""
    fixes = {path: f"remove `{path}`" for path in damaged}
    for output in (output for output in outputs if output.cached):
        name, inside = output.path.as_posix(), _listing(cache, output.md5) or {}
        fix = output.rebuild if output.path in unsound else f"run `dvc commit --force {output.stage}`"
        for part, md5 in {name: output.md5, **{f"{name}/{file}": md5 for file, md5 in inside.items()}}.items():
            path = cached_object(cache, md5)
            if path in fixes:
                fixes[path] = f"remove `{path}`, then {fix}"
            elif not path.is_file():
                yield Fault(part, "cache", f"object {md5} is missing", fix)
    yield from (Fault(path.as_posix(), "cache", MISMATCH, fix) for path, fix in fixes.items())


def run_entries(runs: Path) -> list[Path]:
    """Every entry of DVC's run cache (`runs/<2 digits>/<hash>/<hash>`), without DVC's temporary files."""
    return [path for path in contents(runs) if not path.name.startswith(".")]


def check_run(path: Path) -> Fault | None:
    """The fault of an entry of the run cache, if any. The file is named after all, its folder after the inputs."""
    from dvc.utils import dict_sha256
    from dvc.utils.serialize import load_yaml

    try:
        entry = load_yaml(path)
        inputs = {**entry, "outs": [out["path"] for out in entry.get("outs", ())]}
        names = [dict_sha256(each, exclude=["size", "nfiles"]) for each in (entry, inputs)]
        reason = "" if names == [path.name, path.parent.name] else MISMATCH
    except Exception as error:  # readers fail on damaged bytes in unforeseen ways
        reason = f"not readable ({' '.join(str(error).split())})"
    return Fault(path.as_posix(), "cache", reason, f"remove `{path}`") if reason else None
