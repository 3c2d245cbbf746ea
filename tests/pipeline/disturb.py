"""Disturbing a pipeline that runs, and telling whether it came through."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML

from phonoscope.commands.doctor import diagnose
from phonoscope.pipeline.integrity.contents import check_content
from tests.pipeline.clone import Clone

PATIENCE_S = 10.0
POLL_S = 0.1


@dataclass(frozen=True)
class Reference:
    """An undisturbed run."""

    locked: dict[str, Any]
    """Hashes of all outputs by stage."""
    wall_s: float
    targets: tuple[str, ...]

    @property
    def outputs(self) -> list[str]:
        return [path for stage in self.locked.values() for path in stage]


@dataclass
class Outcome:
    """What a case came to."""

    name: str
    strikes: int = 0
    repairs: list[str] = field(default_factory=list)
    """What `doctor` named on the way, and was done."""
    faults: list[str] = field(default_factory=list)

    def row(self) -> str:
        repairs = ", ".join(f"{self.repairs.count(name)} x {name}" for name in sorted(set(self.repairs))) or "none"
        return f"| {self.name} | {self.strikes} | {repairs} | {'; '.join(self.faults) or 'held'} |"


def locked(clone: Clone, revision: str = "") -> dict[str, Any]:
    """The hashes of all outputs by stage, in the dvc.lock of the workspace or of a revision."""
    command = ("git", "show", f"{revision}:dvc.lock") if revision else ("cat", "dvc.lock")
    content = YAML(typ="safe").load(clone.run(*command).stdout)
    return {name: {out["path"]: out["md5"] for out in stage["outs"]} for name, stage in content["stages"].items()}


def start(clone: Clone, *arguments: str, environment: Mapping[str, str] = {}) -> subprocess.Popen[bytes]:
    """`dvc repro` in the background; what it says is appended to `<clone>.log`."""
    with clone.root.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            ["dvc", "repro", *arguments],
            cwd=clone.root,
            env=clone.environment() | environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stage_of(dvc: subprocess.Popen[bytes]) -> int | None:
    """The process of the stage that runs, if one does."""
    for child in psutil.Process(dvc.pid).children(recursive=True):
        if "phonoscope" in child.cmdline() and Path(child.cmdline()[0]).name.startswith("python"):
            return child.pid
    return None


def strike(dvc: subprocess.Popen[bytes], number: signal.Signals, victim: str) -> bool:
    """Send a signal to DVC or to its stage; whether there was one to send it to.

    SIGINT goes to DVC and all below it, as a terminal sends it: alone, DVC leaves it to its stage.
    """
    try:
        pid = dvc.pid if victim == "dvc" else stage_of(dvc)
        if pid is None or dvc.poll() is not None:
            return False
        if victim == "dvc" and number == signal.SIGINT:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except (psutil.Error, ProcessLookupError):
        return False
    return True


def strike_until_ended(dvc: subprocess.Popen[bytes], number: signal.Signals, victim: str) -> None:
    """Strike, and again after a while if DVC lives on: between two stages there is none, and it ignores SIGINT."""
    while dvc.poll() is None:
        patience_s = PATIENCE_S if strike(dvc, number, victim) else POLL_S
        with suppress(subprocess.TimeoutExpired):
            dvc.wait(patience_s)


def half_written(clone: Clone, outputs: Iterable[str]) -> list[str]:
    """Files at final paths that cannot be read."""
    found = []
    for name in outputs:
        path = clone.root / name
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and ".tmp" not in str(p))
        for file in files:
            reason = check_content(file)
            if reason and file.exists():  # another writer may have replaced it meanwhile
                found.append(f"{file.relative_to(clone.root)}: {reason}")
    return found


def repair(clone: Clone) -> list[str]:
    """Do what `doctor` says of DVC's own files; the rest does not stand in a repro's way."""
    done = []
    for fault in diagnose(clone.root):
        if fault.path == "dvc.lock":
            if clone.run("git", "checkout", "--", "dvc.lock", check=False).returncode:
                (clone.root / "dvc.lock").unlink()  # not committed yet
        elif fault.path.endswith("rwlock"):
            (clone.root / fault.path).unlink()
        else:
            continue
        done.append(fault.path)
    return done


def forget(clone: Clone) -> None:
    """Remove all results and DVC's cache, so that the next repro has everything to do."""
    clone.run("rm", "-rf", ".dvc/cache", ".dvc/tmp", "data", "models", "metrics", "plots", "dvc.lock", ".phonoscope")


def finish(clone: Clone, reference: Reference, outcome: Outcome, *, environment: Mapping[str, str] = {}) -> Outcome:
    """A repro to the end: it must succeed, lock the reference's hashes and pass `verify`."""
    outcome.repairs += repair(clone)
    if code := start(clone, *reference.targets, environment=environment).wait():
        outcome.faults.append(f"the last repro exited with {code}")
        return outcome
    wait_for_orphans(clone)  # DVC may have taken from its run cache what one of them still makes
    there = locked(clone)
    outcome.faults += [f"{stage} differs" for stage in reference.locked if there.get(stage) != reference.locked[stage]]
    outcome.faults += [fault["path"] for fault in clone.verify()["faults"] if "has not run" not in fault["reason"]]
    return outcome


def wait_for_orphans(clone: Clone) -> None:
    """Wait for stages that outlived their DVC."""
    here = str(clone.root.resolve())
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if process.info["cwd"] == here and "phonoscope" in (process.info["cmdline"] or []):
            process.wait()
