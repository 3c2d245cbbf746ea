"""What stands in the way of the next `dvc repro`, and what mends it. Changes nothing itself. No DVC stage."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from phonoscope import paths
from phonoscope.integrity.faults import Fault
from phonoscope.tracking import main_checkout

FREE_BYTES = 3 << 30
"""What the default run writes, with DVC's cache and the tracking store beside it."""
WRITTEN = ("data", "models", "metrics", "plots", ".dvc", paths.STATE.as_posix())
LOCKFILE = "requirements.lock"


def diagnose(root: Path) -> list[Fault]:
    """Everything that is wrong with the checkout at `root`, or on this machine for it."""
    checks = (_dvc_files, _rwlock, _orphans, _temporaries, _folders, _disk, _packages, _store)
    return [fault for check in checks for fault in check(root)]


def _dvc_files(root: Path) -> Iterator[Fault]:
    """A killed DVC can leave dvc.lock cut off."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            list(repo.index.outs)
    except DvcException as error:
        reason = " ".join(str(error).split())
        name = "dvc.lock" if "dvc.lock" in reason else "dvc.yaml"
        mend = f"run `git checkout -- {name}`, then `dvc repro`: finished stages come back from DVC's run cache"
        yield Fault(name, "workspace", reason, mend)


def _rwlock(root: Path) -> Iterator[Fault]:
    path = root / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except ValueError:
        reason = "cut off: DVC was killed while it wrote the list of its locks"
        yield Fault(
            path.relative_to(root).as_posix(), "machine", reason, "remove the file; no other DVC may be running"
        )


def _orphans(root: Path) -> Iterator[Fault]:
    """A killed `dvc` leaves its stage running."""
    import psutil

    for process in psutil.process_iter(["pid", "ppid", "cmdline", "cwd"]):
        command = process.info["cmdline"] or []
        ours = "phonoscope" in command and "-m" in command and process.info["cwd"] == str(root.resolve())
        if ours and process.pid != os.getpid() and not _has_dvc_above(process):
            stage = " ".join(command[command.index("phonoscope") + 1 :])
            reason = f"stage `{stage}` still runs as process {process.pid}, though no DVC waits for it"
            yield Fault(stage, "machine", reason, f"wait for it, or `kill {process.pid}`")


def _has_dvc_above(process: object) -> bool:
    import psutil

    assert isinstance(process, psutil.Process)
    try:
        return any("dvc" in Path(part).name for parent in process.parents() for part in parent.cmdline()[:2])
    except psutil.Error:
        return True  # it has ended meanwhile


def _temporaries(root: Path) -> Iterator[Fault]:
    for folder in ("data", "models", "metrics", "plots"):
        for path in sorted((root / folder).rglob(".*.tmp*")):
            reason = "a temporary file of a stage that was killed"
            yield Fault(path.relative_to(root).as_posix(), "workspace", reason, "remove it once no stage runs")


def _folders(root: Path) -> Iterator[Fault]:
    for name in WRITTEN:
        if (root / name).exists() and not os.access(root / name, os.W_OK | os.X_OK):
            yield Fault(name, "machine", "not writable", f"run `chmod u+rwx {name}`, or change its owner")


def _disk(root: Path) -> Iterator[Fault]:
    free = shutil.disk_usage(root).free
    if free < FREE_BYTES:
        reason = f"{free / 2**30:.1f} GiB free; the default run writes up to {FREE_BYTES >> 30}"
        yield Fault(root.resolve().name, "machine", reason, "free some, for instance with `dvc gc --workspace`")


def _packages(root: Path) -> Iterator[Fault]:
    """Packages that are not those of the lock file: numbers may differ then."""
    from packaging.requirements import Requirement

    if not (root / LOCKFILE).is_file():
        return
    lines = (root / LOCKFILE).read_text(encoding="utf-8").splitlines()
    for line in (each.rstrip(" \\") for each in lines if each[:1].isalnum()):
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            installed = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield Fault(requirement.name, "machine", f"not installed, {LOCKFILE} has {line}", "run `make setup`")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            yield Fault(
                requirement.name, "machine", f"{installed} is installed, {LOCKFILE} has {line}", "run `make setup`"
            )


def _store(root: Path) -> Iterator[Fault]:
    """The default tracking store, where there is one."""
    database = main_checkout(root) / "mlflow.db"
    if not database.is_file():
        return
    mend = f"move {database.name} away and run `phonoscope sync-mlflow`, which fills a new one from dvc.lock"
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            (answer,) = connection.execute("pragma quick_check(1)").fetchone()
    except sqlite3.Error as error:
        answer = str(error)
    if answer != "ok":
        yield Fault(database.name, "machine", f"the tracking store is damaged ({answer})", mend)
    elif not os.access(database, os.W_OK):
        yield Fault(database.name, "machine", "the tracking store is not writable", f"run `chmod u+w {database.name}`")


def describe(faults: list[Fault]) -> str:
    """What `doctor` found, to be read."""
    return "\n".join(map(str, faults)) if faults else "nothing stands in the way of `dvc repro`"
