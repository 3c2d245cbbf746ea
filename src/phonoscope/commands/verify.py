"""Every output of the pipeline against dvc.lock, DVC's cache against itself, and what is inside. No DVC stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from phonoscope import paths
from phonoscope.commands.doctor import check_pipeline
from phonoscope.compute import parallel_iter
from phonoscope.errors import DataError
from phonoscope.files import read_safetensors
from phonoscope.pipeline.integrity import consistency
from phonoscope.pipeline.integrity.contents import CHECKS, check_content
from phonoscope.pipeline.integrity.faults import Fault
from phonoscope.pipeline.integrity.hashes import (
    Output,
    cache_objects,
    check_cache,
    check_output,
    check_run,
    is_damaged,
    run_entries,
)

UNVOICED = ("f0_hz",)
"""Columns in which NaN has a meaning: no pitch."""
COMPARED = ["utterance", "path", "speaker", "duration_s", "sha256"]
"""Columns of the manifest that other artifacts are compared with."""


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what is wrong with it."""

    outputs: int = 0
    objects: int = 0
    """Of DVC's cache."""
    runs: int = 0
    """Of DVC's run cache."""
    files: int = 0
    """Whose content was read."""
    faults: list[Fault] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        checked = {
            "outputs": self.outputs,
            "cache_objects": self.objects,
            "cached_runs": self.runs,
            "files": self.files,
        }
        return {"ok": not self.faults, "checked": checked, "faults": [fault.to_dict() for fault in self.faults]}


def verify(root: Path, workers: int = 1) -> Verification:
    """Check the checkout at `root`, its outputs and DVC's cache. Changes nothing, and trusts no time stamp."""
    if unreadable := check_pipeline(root):
        return Verification(faults=[unreadable])
    outputs, runs, cache, faults = locked_outputs(root)
    found = parallel_iter(partial(check_output, root, cache=cache), outputs, workers=workers, description="outputs")
    differing = {output.path: differences for output, differences in zip(outputs, found, strict=True) if differences}
    faults += [fault for differences in differing.values() for fault in differences]
    objects, entries = cache_objects(cache), run_entries(runs)
    verdicts = parallel_iter(is_damaged, objects, workers=workers, description="cache")
    damaged = [path for path, verdict in zip(objects, verdicts, strict=True) if verdict]
    faults += check_cache(outputs, cache, damaged, differing)
    faults += filter(None, parallel_iter(check_run, entries, workers=workers, description="run cache"))
    files = [file for output in outputs for file in _files(root / output.path)]
    reasons = parallel_iter(partial(check_content, may_be_nan=UNVOICED), files, description="contents")
    unsound = {file.relative_to(root).as_posix(): reason for file, reason in zip(files, reasons, strict=True) if reason}
    for name, reason in [*unsound.items(), *_disagreements(root, unsound)]:
        writer = next((output for output in outputs if Path(name).is_relative_to(output.path)), None)
        again = writer.rebuild if writer else "run `dvc repro`"
        mend = "first mend what differs from dvc.lock, then run `phonoscope verify` again" if differing else again
        faults.append(Fault(name, "content", reason, mend))
    return Verification(len(outputs), len(objects), len(entries), len(files), sorted(set(faults)))


def locked_outputs(root: Path) -> tuple[list[Output], Path, Path, list[Fault]]:
    """Outputs that dvc.lock has, the folders of DVC's run cache and of its cache, and stages that no lock has."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            runs, cache = Path(repo.stage_cache.cache_dir), Path(repo.cache.local.path)
            found = [(out, getattr(out.stage, "name", "")) for out in repo.index.outs]
    except DvcException as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{root / 'dvc.lock'}: {reason}; `phonoscope doctor` names the mend") from error
    outputs, never = [], set()
    for out, stage in found:
        if not (out.hash_info and out.hash_info.value):
            never.add(stage)
            continue
        path = Path(out.fs_path).relative_to(root.resolve())
        outputs.append(Output(stage, path, out.hash_info.value, out.use_cache))
    reason = "dvc.lock has no hash of its outputs: it has not run"
    faults = [Fault(stage, "workspace", reason, f"run `dvc repro {stage}`") for stage in sorted(never)]
    return outputs, runs, cache, faults


def _files(path: Path) -> Iterator[Path]:
    candidates = [path] if path.is_file() else sorted(path.rglob("*"))
    return (file for file in candidates if file.suffix.lower() in CHECKS and file.is_file())


def _disagreements(root: Path, unsound: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Files that disagree with others, and why; what is missing or `unsound` by itself has been reported already."""

    def compared(check: Callable[[], Iterator[str]], name: Path, *others: Path) -> Iterator[tuple[str, str]]:
        """What `check` says of a file, having read the others as well."""
        if not all((root / each).is_file() and each.as_posix() not in unsound for each in (name, *others)):
            return
        try:
            for reason in check():
                yield name.as_posix(), reason
        except ImportError:  # a missing package is no fault of the file
            raise
        except Exception as error:  # damaged content that can be read may hold anything
            read = " and ".join(other.as_posix() for other in others)
            beside = f" with {read}" if read else ""
            yield (
                name.as_posix(),
                f"cannot be compared{beside} ({type(error).__name__}: {' '.join(str(error).split())})",
            )

    for folder in sorted((root / paths.FEATURES).glob("*")):
        array, index = (paths.features(folder.name) / name for name in ("features.npy", "index.parquet"))
        yield from compared(partial(consistency.check_rows, root / array, root / index), array, index)
    for folder in sorted((root / paths.tokens_dir("")).glob("*")):
        for table in (paths.tokens(folder.name), paths.latents(folder.name)):
            check = partial(consistency.check_utterances, root / table, root / paths.F0_TRACKS)
            yield from compared(check, table, paths.F0_TRACKS)
        tokens, codebooks = paths.tokens(folder.name), paths.codebooks(folder.name)
        yield from compared(partial(_tokens, root, folder.name), tokens, codebooks, paths.MANIFEST)
    yield from compared(partial(_manifest_and_audio, root), paths.MANIFEST)
    yield from compared(partial(_split, root), paths.SPLIT, paths.MANIFEST)


def _manifest(root: Path) -> Any:
    import pandas as pd

    return pd.read_parquet(root / paths.MANIFEST, columns=COMPARED)


def _by_utterance(root: Path, column: str) -> dict[str, Any]:
    manifest = _manifest(root)
    return dict(zip(manifest["utterance"], manifest[column], strict=True))


def _manifest_and_audio(root: Path) -> Iterator[str]:
    return consistency.check_manifest(_manifest(root), root / paths.CORPUS)


def _split(root: Path) -> Iterator[str]:
    split = json.loads((root / paths.SPLIT).read_text(encoding="utf-8"))
    return consistency.check_split(split, _by_utterance(root, "speaker"))


def _tokens(root: Path, codec: str) -> Iterator[str]:
    tensors, metadata = read_safetensors(root / paths.codebooks(codec))
    sizes = [len(tensors[f"layer_{layer}"]) for layer in range(1, int(metadata["layers"]) + 1)]
    durations = _by_utterance(root, "duration_s")
    return consistency.check_tokens(root / paths.tokens(codec), sizes, float(metadata["frame_rate_hz"]), durations)


def describe(found: Verification) -> str:
    """What `verify` found, to be read."""
    looked = (
        f"{found.outputs} outputs, {found.files} files read, {found.objects} objects of DVC's cache, "
        f"{found.runs} of its run cache"
    )
    if not found.faults:
        return f"verified: {looked}"
    return "\n".join(
        [*(f"{fault.where}: {fault}" for fault in found.faults), f"{len(found.faults)} faults in {looked}"]
    )
