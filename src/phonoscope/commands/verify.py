"""`phonoscope verify`: outputs compared with dvc.lock, DVC's cache with its names, and the contents of all files."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from phonoscope.commands.doctor import check_pipeline
from phonoscope.compute import parallel_iter
from phonoscope.pipeline.integrity.consistency import disagreements
from phonoscope.pipeline.integrity.contents import CONTENT, check_content, contents
from phonoscope.pipeline.integrity.faults import Fault
from phonoscope.pipeline.integrity.hashes import (
    cache_objects,
    check_cache,
    check_output,
    check_run,
    is_damaged,
    locked_outputs,
    run_entries,
)


@dataclass(frozen=True)
class Verification:
    """Numbers of checked things, and their faults. The text of it is for people."""

    outputs: int = 0
    objects: int = 0
    """Objects of DVC's cache."""
    runs: int = 0
    """Entries of DVC's run cache."""
    files: int = 0
    """Files whose content was read."""
    faults: list[Fault] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        checked = {"outputs": self.outputs, "cache_objects": self.objects, "cached_runs": self.runs}
        checked["files"] = self.files
        return {"ok": not self.faults, "checked": checked, "faults": [fault.to_dict() for fault in self.faults]}

    def __str__(self) -> str:
        checked = (
            f"{self.outputs} outputs, {self.files} files read, {self.objects} objects of DVC's cache, "
            f"{self.runs} of its run cache"
        )
        if not self.faults:
            return f"verified: {checked}"
        lines = [f"{fault.where}: {fault}" for fault in self.faults]
        return "\n".join([*lines, f"{len(lines)} faults in {checked}"])


def verify(root: Path, workers: int = 1) -> Verification:
    """Check the outputs of the checkout `root`, and DVC's cache. Changes nothing, and trusts no time stamp."""
    if unreadable := check_pipeline(root):
        return Verification(faults=[unreadable])
    locked = locked_outputs(root)
    outputs, cache, faults = locked.outputs, locked.cache, locked.faults
    compared = parallel_iter(partial(check_output, root, cache=cache), outputs, workers=workers, description="outputs")
    differing = {output.path: differences for output, differences in zip(outputs, compared, strict=True) if differences}
    faults += [fault for differences in differing.values() for fault in differences]
    objects, entries = cache_objects(cache), run_entries(locked.runs)
    verdicts = parallel_iter(is_damaged, objects, workers=workers, description="cache")
    damaged = [path for path, verdict in zip(objects, verdicts, strict=True) if verdict]
    faults += check_cache(outputs, cache, damaged, differing)
    faults += filter(None, parallel_iter(check_run, entries, workers=workers, description="run cache"))
    files = [file for output in outputs for file in contents(root / output.path)]
    files = [file for file in files if file.suffix.lower() in CONTENT]
    reasons = parallel_iter(check_content, files, description="contents")
    unsound = {file.relative_to(root).as_posix(): reason for file, reason in zip(files, reasons, strict=True) if reason}
    for name, reason in [*unsound.items(), *disagreements(root, unsound)]:
        writer = next((output for output in outputs if Path(name).is_relative_to(output.path)), None)
        again = writer.rebuild if writer else "run `dvc repro`"
        fix = "first fix what differs from dvc.lock, then run `phonoscope verify` again" if differing else again
        faults.append(Fault(name, "content", reason, fix))
    return Verification(len(outputs), len(objects), len(entries), len(files), sorted(set(faults)))
