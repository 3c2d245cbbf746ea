"""The pipeline at toy scale, interrupted, moved and run twice at once: `make chaos`. Takes an hour or more.

Every case ends with a repro that must lock the same hashes as one that nobody disturbed.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from ruamel.yaml import YAML
from tqdm import tqdm

from phonoscope.integrity.contents import check_content
from phonoscope.stages.doctor import diagnose
from phonoscope.stages.verify import UNVOICED
from tests.pipeline.clone import TOY, Clone, make_clone

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
VICTIMS = ("dvc", "stage")
TARGETS = Annotated[list[str] | None, typer.Argument(help="DVC targets; all stages if there is none.")]


@dataclass(frozen=True)
class Reference:
    """An undisturbed run."""

    locked: dict[str, Any]
    """Hashes of all outputs by stage."""
    wall_s: float
    targets: tuple[str, ...]


@dataclass
class Outcome:
    """What a case came to."""

    name: str
    strikes: int = 0
    mends: list[str] = field(default_factory=list)
    """What `doctor` named on the way, and was done."""
    faults: list[str] = field(default_factory=list)

    def row(self) -> str:
        mends = ", ".join(f"{self.mends.count(name)} x {name}" for name in sorted(set(self.mends))) or "none"
        return f"| {self.name} | {self.strikes} | {mends} | {'; '.join(self.faults) or 'held'} |"


def locked(clone: Clone) -> dict[str, Any]:
    """The hashes of all outputs by stage, as dvc.lock has them."""
    content = YAML(typ="safe").load((clone.root / "dvc.lock").read_text(encoding="utf-8"))
    return {name: {out["path"]: out["md5"] for out in stage["outs"]} for name, stage in content["stages"].items()}


def _start(clone: Clone, *arguments: str, environment: Mapping[str, str] = {}) -> subprocess.Popen[bytes]:
    command = ["dvc", "repro", *arguments]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(
        command, cwd=clone.root, env=clone.environment() | environment, start_new_session=True, **quiet
    )  # type: ignore[call-overload, no-any-return]


def _stage_of(dvc: subprocess.Popen[bytes]) -> int | None:
    """The process of the stage that runs, if one does."""
    for child in psutil.Process(dvc.pid).children(recursive=True):
        if "phonoscope" in child.cmdline() and Path(child.cmdline()[0]).name.startswith("python"):
            return child.pid
    return None


def strike(dvc: subprocess.Popen[bytes], number: signal.Signals, victim: str) -> bool:
    """Send a signal to DVC or to its stage; whether there was one to send it to."""
    try:
        pid = dvc.pid if victim == "dvc" else _stage_of(dvc)
        if pid is None or dvc.poll() is not None:
            return False
        os.kill(pid, number)
    except (psutil.Error, ProcessLookupError):
        return False
    return True


def half_written(clone: Clone, outputs: Iterator[str]) -> list[str]:
    """Files at final paths that cannot be read."""
    found = []
    for name in outputs:
        path = clone.root / name
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file() and ".tmp" not in str(p))
        for file in files:
            reason = check_content(file, UNVOICED)
            if reason and file.exists():  # another writer may have replaced it meanwhile
                found.append(f"{file.relative_to(clone.root)}: {reason}")
    return found


def mend(clone: Clone) -> list[str]:
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


def interrupted(
    clone: Clone, reference: Reference, number: signal.Signals, victim: str, moments: int, seed: int
) -> Outcome:
    """Repro after repro, each struck at a random moment, until `moments` have been; then one to the end."""
    outcome, draw = Outcome(f"{number.name} to {victim}"), random.Random(f"{seed} {number.name} {victim}")
    outputs = [path for stage in reference.locked.values() for path in stage]
    progress = tqdm(total=moments, desc=outcome.name, disable=None)
    while outcome.strikes < moments:
        dvc = _start(clone, *reference.targets)
        try:
            dvc.wait(draw.expovariate(moments / reference.wall_s) + 2.0)  # DVC itself starts for two seconds
        except subprocess.TimeoutExpired:
            if strike(dvc, number, victim):
                outcome.strikes += 1
                progress.update()
            dvc.wait()
        else:
            if dvc.returncode == 0:  # everything is there: begin again
                clone.run("dvc", "gc", "--workspace", "--force", "--quiet", check=False)
                _forget(clone)
        outcome.faults += half_written(clone, iter(outputs))
        outcome.mends += mend(clone)
    finish(clone, reference, outcome)
    return outcome


def _forget(clone: Clone) -> None:
    """Remove all results and DVC's cache, so that the next repro has everything to do."""
    clone.run("rm", "-rf", ".dvc/cache", ".dvc/tmp", "data", "models", "metrics", "plots", "dvc.lock", ".phonoscope")


def finish(clone: Clone, reference: Reference, outcome: Outcome, *, environment: Mapping[str, str] = {}) -> None:
    """A repro to the end: it must succeed, lock the reference's hashes and pass `verify`."""
    _wait_for_orphans(clone)
    outcome.mends += mend(clone)
    if code := _start(clone, *reference.targets, environment=environment).wait():
        outcome.faults.append(f"the last repro exited with {code}")
        return
    there = locked(clone)
    differ = [f"{stage} differs" for stage in reference.locked if there.get(stage) != reference.locked[stage]]
    outcome.faults += differ
    report = clone.run(
        "env", "PYTHONPATH=src", "python", "-m", "phonoscope", "--quiet", "verify", "--json", check=False
    )
    faults = json.loads(report.stdout)["faults"]
    outcome.faults += [fault["path"] for fault in faults if "has not run" not in fault["reason"]]


def _wait_for_orphans(clone: Clone) -> None:
    here = str(clone.root.resolve())
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if process.info["cwd"] == here and "phonoscope" in (process.info["cmdline"] or []):
            process.wait()


def moved(root: Path, reference: Reference) -> Outcome:
    """A fresh clone under a path with spaces and other letters, one worker, another locale and time zone."""
    clone = make_clone(root / "ein Ördner с пробелами" / "phonoscope", TOY)
    clone.set_params({"compute": {"workers": 1}})
    outcome = Outcome("another path, locale, time zone and number of workers")
    finish(clone, reference, outcome, environment={"LC_ALL": "C", "LANG": "C", "TZ": "Asia/Kolkata"})
    return outcome


def forced(root: Path, reference: Reference) -> Outcome:
    """All stages again in a checkout where everything is up to date."""
    clone, outcome = Clone(root / "reference"), Outcome("`dvc repro --force` in an old checkout")
    clone.dvc("repro", "--force", *reference.targets)
    finish(clone, reference, outcome)
    return outcome


def twice_at_once(root: Path, reference: Reference) -> Outcome:
    """Two repros in one checkout: one may be refused, neither may harm the other."""
    clone, outcome = make_clone(root / "twice", TOY), Outcome("two `dvc repro` at once", strikes=2)
    for process in [_start(clone, *reference.targets), _start(clone, *reference.targets)]:
        process.wait()
    finish(clone, reference, outcome)
    return outcome


def main(
    targets: TARGETS = None,
    moments: Annotated[int, typer.Option(help="Strikes for each signal and victim.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Disturb the pipeline in every way there is, and print a table of what became of it."""
    with tempfile.TemporaryDirectory(prefix="phonoscope-chaos-") as folder:
        root, start = Path(folder), time.perf_counter()
        clone = make_clone(root / "reference", TOY)
        clone.dvc("repro", *(targets or []))
        reference = Reference(locked(clone), time.perf_counter() - start, tuple(targets or []))
        cases: list[Callable[[Path, Reference], Outcome]] = [forced, moved, twice_at_once]
        outcomes = []
        for case in cases:
            outcomes.append(_told(case(root, reference)))
        for number in SIGNALS:
            for victim in VICTIMS:
                struck = make_clone(root / f"{number.name}-{victim}", TOY)
                outcomes.append(_told(interrupted(struck, reference, number, victim, moments, seed)))
    typer.echo("\n| case | strikes | mended on the way | outcome |\n|---|---:|---|---|")
    typer.echo("\n".join(outcome.row() for outcome in outcomes))
    sys.exit(any(outcome.faults for outcome in outcomes))


def _told(outcome: Outcome) -> Outcome:
    typer.echo(outcome.row(), err=True)
    return outcome


if __name__ == "__main__":
    typer.run(main)
