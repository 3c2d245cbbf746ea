"""`phonoscope doctor`: obstacles to the next `dvc repro`, and their remedies. Changes nothing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from phonoscope import paths
from phonoscope.config.params import load_params
from phonoscope.errors import ParamsError
from phonoscope.pipeline.base import stages
from phonoscope.pipeline.integrity.faults import Fault
from phonoscope.tracking import main_checkout
from phonoscope.tracking.provenance import git, is_dvc
from phonoscope.tracking.store import BUSY_TIMEOUT_S

FREE_BYTES = 3 << 30  # that the default run writes, with DVC's cache and the tracking store
CORRECT = "correct it; `git diff {}` shows what has changed"
RESULTS = ("data", "models", "metrics", "plots")
LOCKFILE = "requirements.lock"


def diagnose(root: Path) -> list[Fault]:
    """All faults of the checkout `root` and of this machine."""
    if not (root / ".dvc").is_dir():
        return [*filter(None, [check_pipeline(root)])]
    checks = (_params_and_pipeline, _rwlock, _orphans, _temporaries, _folders, _disk, _packages, _store)
    return [fault for check in checks for fault in check(root)]


def _params_and_pipeline(root: Path) -> Iterator[Fault]:
    name, fault = paths.PARAMS.as_posix(), check_pipeline(root)
    try:
        load_params(root / name)
    except ParamsError as error:
        yield Fault(name, "workspace", str(error).replace(f"{root / name}: ", ""), CORRECT.format(name))
        fault = fault if fault and fault.path != name else None
    if fault:
        yield fault


def check_pipeline(root: Path) -> Fault | None:
    """The reason why DVC cannot read the pipeline at `root`, or None. A killed DVC can leave dvc.lock cut off."""
    from dvc.repo import Repo

    if not (root / ".dvc").is_dir():
        reason, fix = "not the root of a DVC repository", "run it in the root of the checkout"
        return Fault(str(root.resolve()), "machine", reason, fix)
    if not (root / "dvc.yaml").is_file():
        return Fault("dvc.yaml", "workspace", "missing", "run `git checkout -- dvc.yaml`")
    try:
        with Repo(str(root)) as repo:
            list(repo.index.outs)
    except Exception as error:  # DVC fails on damaged files in unforeseen ways
        reason = " ".join(str(error).split())
        named = re.search(r"([\w.-]+\.(?:lock|yaml|dvc))'", reason)  # the end of a quoted path
        name = named[1] if named else ".dvc/config" if "config file" in reason else "dvc.yaml"
        if "Could not find '" in reason:  # a parameter; DVC names the file that asks for it
            name = paths.PARAMS.as_posix()
        fix = CORRECT.format(name)
        if name == "dvc.lock":
            first = "run `git checkout -- dvc.lock`" if git(root, "ls-files", "--", name) else f"remove `{name}`"
            fix = f"{first}, then run `dvc repro`: DVC restores finished stages from its run cache"
        return Fault(name, "workspace", reason or type(error).__name__, fix)
    return None


def _rwlock(root: Path) -> Iterator[Fault]:
    name = ".dvc/tmp/rwlock"
    with suppress(FileNotFoundError):
        try:
            json.loads((root / name).read_text(encoding="utf-8"))
        except ValueError:
            reason = "cut off: DVC was killed while it wrote the list of its locks"
            yield Fault(name, "machine", reason, "remove the file while no DVC runs")


def _orphans(root: Path) -> Iterator[Fault]:
    """Stages that still run after their `dvc` was killed."""
    import psutil

    here = str(root.resolve())
    for process in psutil.process_iter(["cmdline", "cwd"]):
        arguments = " ".join(process.info["cmdline"] or []).partition(" -m phonoscope ")[2]
        stage = re.sub(r"^(-\S+ )+", "", arguments)
        if process.info["cwd"] != here or stage.split(" ")[0] not in stages():
            continue
        with suppress(psutil.Error):  # it has ended meanwhile
            if not any(map(is_dvc, process.parents())):
                reason = f"stage `{stage}` still runs as process {process.pid}, though no DVC waits for it"
                yield Fault(stage, "machine", reason, f"wait for it, or `kill {process.pid}`")


def _temporaries(root: Path) -> Iterator[Fault]:
    reason, fix = "a temporary file of a stage that was killed", "remove it once no stage runs"
    for path in sorted(path for folder in RESULTS for path in (root / folder).rglob(".*.tmp*")):
        yield Fault(path.relative_to(root).as_posix(), "workspace", reason, fix)


def _folders(root: Path) -> Iterator[Fault]:
    """Read-only folders of DVC and of results, which DVC removes before a stage runs."""
    results = [Path(folder) for name in RESULTS for folder, _, _ in os.walk(root / name)]
    for path in (root / ".dvc", root / paths.STATE, *results):
        if path.is_dir() and not os.access(path, os.W_OK | os.X_OK):
            name = path.relative_to(root).as_posix()
            yield Fault(name, "machine", "not writable", f"run `chmod u+rwx {name}`, or change its owner")


def _disk(root: Path) -> Iterator[Fault]:
    free = shutil.disk_usage(root).free
    if free < FREE_BYTES:
        reason = f"{free / 2**30:.1f} GiB free; the default run writes up to {FREE_BYTES >> 30}"
        yield Fault(root.resolve().name, "machine", reason, "free some, for instance with `dvc gc --workspace`")


def _packages(root: Path) -> Iterator[Fault]:
    """Packages whose version is not the locked one: numbers may differ."""
    from packaging.requirements import Requirement

    lines = (root / LOCKFILE).read_text(encoding="utf-8").splitlines() if (root / LOCKFILE).is_file() else []
    for line in (each.rstrip(" \\") for each in lines if each[:1].isalnum()):
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate():
            continue
        version = next((each.version for each in importlib.metadata.distributions(name=requirement.name)), "")
        if not (version and requirement.specifier.contains(version, prereleases=True)):
            state = f"{version} is installed" if version else "not installed"
            yield Fault(requirement.name, "machine", f"{state}, {LOCKFILE} has {line}", "run `make setup`")


def _store(root: Path) -> Iterator[Fault]:
    """Faults of the default tracking store. Opens it for writing: SQLite then rolls back a killed writer's work."""
    database = main_checkout(root) / "mlflow.db"
    if not database.is_file():
        return
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=rw", uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
            (answer,) = connection.execute("pragma quick_check(1)").fetchone()
        code = sqlite3.SQLITE_OK if answer == "ok" else sqlite3.SQLITE_CORRUPT
    except sqlite3.Error as error:
        # the code's last byte is its kind; an error of Python's own module has no code
        answer, code = str(error), getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        parts = [path.name for path in (database, *sorted(database.parent.glob(f"{database.name}-*")))]
        state = "damaged"
        fix = f"move {' and '.join(parts)} away and run `phonoscope sync-mlflow`, which fills a new one from dvc.lock"
    elif code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        state, fix = "in use", "wait until the process that uses it has ended"
    elif code != sqlite3.SQLITE_OK:
        state, fix = "not usable", "make the file and its folder readable and writable"
    elif not os.access(database, os.W_OK):
        state, answer, fix = "not writable", "no permission", f"run `chmod u+w {database.name}`"
    else:
        return
    yield Fault(database.name, "machine", f"the tracking store is {state} ({answer})", fix)
