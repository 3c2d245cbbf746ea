"""Every output of the pipeline against dvc.lock, DVC's cache against itself, and what is inside. No DVC stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from phonoscope import paths
from phonoscope.compute import parallel_iter
from phonoscope.errors import DataError
from phonoscope.files import read_safetensors
from phonoscope.integrity import consistency
from phonoscope.integrity.contents import CHECKS, check_content
from phonoscope.integrity.faults import Fault
from phonoscope.integrity.hashes import (
    Output,
    cache_objects,
    check_cached,
    check_object,
    check_output,
)

UNVOICED = ("f0_hz",)
"""Columns in which NaN has a meaning: no pitch."""
REBUILD = "rebuild it with `dvc repro --force`"


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what is wrong with it."""

    outputs: int
    objects: int
    """Of DVC's cache."""
    files: int
    """Whose content was read."""
    faults: list[Fault]

    def to_dict(self) -> dict[str, Any]:
        checked = {"outputs": self.outputs, "cache_objects": self.objects, "files": self.files}
        return {"ok": not self.faults, "checked": checked, "faults": [fault.to_dict() for fault in self.faults]}


def verify(root: Path, workers: int = 1) -> Verification:
    """Check the checkout at `root`, its outputs and DVC's cache. Changes nothing, and trusts no time stamp.

    Raises: `DataError` if dvc.yaml or dvc.lock cannot be read.
    """
    outputs, cached, cache, faults = locked_outputs(root)
    for found in parallel_iter(
        partial(check_output, root, cache=cache), outputs, workers=workers, description="outputs"
    ):
        faults += found
    objects = cache_objects(cache)
    damaged = parallel_iter(check_object, objects, workers=workers, description="cache")
    faults += [fault for fault in damaged if fault]
    for output in cached:
        faults += check_cached(output, cache)
    files = [file for output in outputs for file in _files(root / output.path)]
    reasons = parallel_iter(partial(check_content, may_be_nan=UNVOICED), files, description="contents")
    unreadable = {
        file.relative_to(root).as_posix(): reason for file, reason in zip(files, reasons, strict=True) if reason
    }
    faults += [Fault(name, "content", reason, REBUILD) for name, reason in unreadable.items()]
    faults += _disagreements(root, unreadable)
    return Verification(len(outputs), len(objects), len(files), sorted(set(faults)))


def locked_outputs(root: Path) -> tuple[list[Output], list[Output], Path, list[Fault]]:
    """Outputs that dvc.lock has, those of them that DVC caches, its cache's folder, and outputs that no lock has."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            cache = Path(repo.cache.local.path)
            found = [(out, getattr(out.stage, "addressing", "")) for out in repo.index.outs]
    except DvcException as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{root / 'dvc.lock'}: {reason}; `phonoscope doctor` names the mend") from error
    outputs, cached, never = [], [], set()
    for out, stage in found:
        if not (out.hash_info and out.hash_info.value):
            never.add(stage)
            continue
        outputs.append(Output(stage, Path(out.fs_path).relative_to(root.resolve()), out.hash_info.value))
        if out.use_cache:
            cached.append(outputs[-1])
    reason = "dvc.lock has no hash of its outputs: it has not run"
    faults = [Fault(stage, "workspace", reason, f"run `dvc repro {stage}`") for stage in sorted(never)]
    return outputs, cached, cache, faults


def _files(path: Path) -> Iterator[Path]:
    candidates = [path] if path.is_file() else sorted(path.rglob("*"))
    return (file for file in candidates if file.suffix.lower() in CHECKS and file.is_file())


def _disagreements(root: Path, unreadable: dict[str, str]) -> Iterator[Fault]:
    """Faults between artifacts; what is missing or cannot be read has been reported already."""

    def usable(*names: Path) -> bool:
        return all((root / name).is_file() and name.as_posix() not in unreadable for name in names)

    def faults(name: Path, check: Callable[[], Iterator[str]]) -> Iterator[Fault]:
        return (Fault(name.as_posix(), "content", reason, REBUILD) for reason in check())

    if not usable(paths.MANIFEST):
        return
    import pandas as pd

    manifest = pd.read_parquet(root / paths.MANIFEST)
    yield from faults(paths.MANIFEST, lambda: consistency.check_manifest(manifest, root / paths.CORPUS))
    if usable(paths.SPLIT):
        split = json.loads((root / paths.SPLIT).read_text(encoding="utf-8"))
        speakers = dict(zip(manifest["utterance"], manifest["speaker"], strict=True))
        yield from faults(paths.SPLIT, lambda: consistency.check_split(split, speakers))
    durations = dict(zip(manifest["utterance"], manifest["duration_s"], strict=True))
    for folder in sorted((root / paths.tokens_dir("")).glob("*")):
        tokens, codebooks = paths.tokens(folder.name), paths.codebooks(folder.name)
        if usable(tokens, codebooks):
            tensors, metadata = read_safetensors(root / codebooks)
            layers = sum(name.startswith("layer_") for name in tensors)
            sizes = [len(tensors[f"layer_{layer}"]) for layer in range(1, layers + 1)]
            check = partial(consistency.check_tokens, root / tokens, sizes, float(metadata["frame_rate_hz"]), durations)
            yield from faults(tokens, check)
    for folder in sorted((root / paths.FEATURES).glob("*")):
        array, index = (paths.features(folder.name) / name for name in ("features.npy", "index.parquet"))
        if usable(array, index):
            yield from faults(array, partial(consistency.check_rows, root / array, root / index))


def describe(found: Verification) -> str:
    """What `verify` found, to be read."""
    looked = f"{found.outputs} outputs, {found.files} files read, {found.objects} objects of DVC's cache"
    if not found.faults:
        return f"verified: {looked}"
    return "\n".join(
        [*(f"{fault.where}: {fault}" for fault in found.faults), f"{len(found.faults)} faults in {looked}"]
    )
