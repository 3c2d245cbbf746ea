"""`phonoscope verify`: outputs compared with dvc.lock, DVC's cache with its names, and the contents of all files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from phonoscope.commands.doctor import check_pipeline
from phonoscope.compute import parallel_map
from phonoscope.pipeline.integrity import hashes
from phonoscope.pipeline.integrity.consistency import disagreements
from phonoscope.pipeline.integrity.contents import CONTENT, check_content, contents
from phonoscope.pipeline.integrity.faults import Fault

CHECKED = ("outputs", "cache_objects", "cached_runs", "files")


@dataclass(frozen=True)
class Verification:
    """How much was checked, by the names in `CHECKED`, and the faults."""

    checked: Mapping[str, int]
    faults: list[Fault]

    def to_dict(self) -> dict[str, Any]:
        return {"ok": not self.faults, "checked": self.checked, "faults": [*map(asdict, self.faults)]}

    def __str__(self) -> str:
        words = "{} outputs, {} objects of DVC's cache, {} entries of its run cache, {} files read"
        checked = words.format(*self.checked.values())
        lines = [f"{fault.where}: {fault}" for fault in self.faults]
        return "\n".join([*lines, f"{len(lines)} faults in {checked}"]) if lines else f"verified: {checked}"


def verify(root: Path, workers: int = 1) -> Verification:
    """Check the outputs of the checkout `root`, and DVC's cache. Changes nothing, and trusts no time stamp."""
    if unreadable := check_pipeline(root):
        return Verification(dict.fromkeys(CHECKED, 0), [unreadable])
    spread = partial(parallel_map, workers=workers)
    locked = hashes.locked_outputs(root)
    outputs, cache = locked.outputs, locked.cache
    compared = spread(partial(hashes.check_output, root, cache=cache), outputs, description="outputs")
    differing = {output.path for output, faults in zip(outputs, compared, strict=True) if faults}
    objects, entries = hashes.cache_objects(cache), hashes.run_entries(locked.runs)
    verdicts = spread(hashes.is_damaged, objects, description="cache")
    damaged = [path for path, verdict in zip(objects, verdicts, strict=True) if verdict]
    faults = [*locked.faults, *(fault for each in compared for fault in each)]
    faults += hashes.check_cache(outputs, cache, damaged, differing)
    faults += filter(None, spread(hashes.check_run, entries, description="run cache"))
    files = [file for output in outputs for file in contents(root / output.path) if file.suffix.lower() in CONTENT]
    reasons = zip(files, parallel_map(check_content, files, description="contents"), strict=True)
    unsound = {file.relative_to(root).as_posix(): reason for file, reason in reasons if reason}
    for name, reason in [*unsound.items(), *disagreements(root, unsound)]:
        writer = next((output for output in outputs if Path(name).is_relative_to(output.path)), None)
        again = writer.rebuild if writer else "run `dvc repro`"
        fix = "first fix what differs from dvc.lock, then run `phonoscope verify` again" if differing else again
        faults.append(Fault(name, "content", reason, fix))
    counts = (len(outputs), len(objects), len(entries), len(files))
    return Verification(dict(zip(CHECKED, counts, strict=True)), sorted(set(faults)))
