"""The pipeline at toy scale, interrupted, moved, starved and run twice at once: `make chaos`. Takes an hour or more.

Every case ends with a repro that must lock the same hashes as one that nobody disturbed.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from tests.pipeline.clone import TOY, Clone, make_clone
from tests.pipeline.disturb import (
    Outcome,
    Reference,
    finish,
    forget,
    half_written,
    locked,
    mend,
    start,
    strike,
)
from tests.pipeline.queue_case import queued

VICTIMS = ("dvc", "stage")
FREE_MIB = (2, 8, 32, 64, 128, 192)
DISK_MIB = 1_500
TARGETS = Annotated[list[str] | None, typer.Argument(help="DVC targets; all stages if there is none.")]


def interrupted(root: Path, reference: Reference, number: signal.Signals, moments: int, seed: int) -> Outcome:
    """Repro after repro, each struck at a random moment, DVC and its stage by turns; then one to the end."""
    clone = make_clone(root / number.name / "phonoscope", TOY)
    outcome, draw = Outcome(f"{number.name} to DVC and to its stage by turns"), random.Random(f"{seed} {number.name}")
    progress = tqdm(total=moments, desc=outcome.name, disable=None)
    while outcome.strikes < moments:
        dvc = start(clone, *reference.targets)
        try:
            dvc.wait(draw.expovariate(moments / reference.wall_s) + 2.0)  # DVC itself starts for two seconds
        except subprocess.TimeoutExpired:
            if strike(dvc, number, VICTIMS[outcome.strikes % 2]):
                outcome.strikes += 1
                progress.update()
            dvc.wait()
        else:
            if dvc.returncode == 0:  # everything is there: begin again
                forget(clone)
        outcome.faults += half_written(clone, reference.outputs)
        outcome.mends += mend(clone)
    return finish(clone, reference, outcome)


def moved(root: Path, reference: Reference) -> Outcome:
    """A fresh clone under a path with spaces and other letters, one worker, another locale and time zone."""
    clone = make_clone(root / "ein Ördner с пробелами" / "phonoscope", TOY)
    clone.set_params({"compute": {"workers": 1}})
    outcome = Outcome("another path, locale, time zone and number of workers")
    return finish(clone, reference, outcome, environment={"LC_ALL": "C", "LANG": "C", "TZ": "Asia/Kolkata"})


def forced(root: Path, reference: Reference) -> Outcome:
    """All stages again in a checkout where everything is up to date."""
    clone, outcome = Clone(root / "reference" / "phonoscope"), Outcome("`dvc repro --force` in an old checkout")
    clone.dvc("repro", "--force", *reference.targets)
    return finish(clone, reference, outcome)


def twice_at_once(root: Path, reference: Reference) -> Outcome:
    """Two repros in one checkout: one may be refused, neither may harm the other."""
    clone = make_clone(root / "twice" / "phonoscope", TOY)
    for process in [start(clone, *reference.targets), start(clone, *reference.targets)]:
        process.wait()
    return finish(clone, reference, Outcome("two `dvc repro` at once", strikes=1))


def full_disk(root: Path, reference: Reference) -> Outcome:
    """A file system with a little room, then with more, until the pipeline fits."""
    with mounted(root / "disk", "tmpfs", "-o", f"size={DISK_MIB}m") as disk:
        clone, outcome = make_clone(disk / "phonoscope", TOY), Outcome("a full disk")
        ballast = disk / "ballast"
        for free_mib in FREE_MIB:
            fill(ballast, free_mib)
            if start(clone, *reference.targets).wait() == 0:
                break
            outcome.strikes += 1
            outcome.faults += half_written(clone, reference.outputs)
            ballast.unlink()
            outcome.mends += mend(clone)
        ballast.unlink(missing_ok=True)
        return finish(clone, reference, outcome)


def fill(ballast: Path, free_mib: int) -> None:
    """Leave so much of a file system free."""
    system = os.statvfs(ballast.parent)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(system.f_bavail * system.f_frsize - (free_mib << 20), 1))


def read_only(root: Path, reference: Reference) -> Outcome:
    """Folders of outputs that cannot be written: by a mount, since root may write to any."""
    clone, outcome = make_clone(root / "read-only" / "phonoscope", TOY), Outcome("a read-only output folder")
    for name in sorted({Path(output).parts[0] for output in reference.outputs}):
        folder = clone.root / name
        folder.mkdir(exist_ok=True)
        with mounted(folder, str(folder), "--bind"):
            subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
            if start(clone, *reference.targets).wait() == 0:
                outcome.faults.append(f"a repro with {name} read-only ended well")
        outcome.strikes += 1
    return finish(clone, reference, outcome)


@contextmanager
def mounted(folder: Path, what: str, *options: str) -> Iterator[Path]:
    """Mount a folder (`what` with --bind) or a tmpfs."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = [] if "--bind" in options else ["-t", what]
    subprocess.run(["mount", *kind, *options, what, str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


CASES = {case.__name__: case for case in (forced, moved, twice_at_once, queued, read_only, full_disk)}
NEED_ROOT = ("read_only", "full_disk")
SIGNALS = {number.name: number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)}
ONLY = Annotated[list[str] | None, typer.Option(help=f"Of {', '.join([*CASES, *SIGNALS])}; all if it is not given.")]


def main(
    targets: TARGETS = None,
    only: ONLY = None,
    moments: Annotated[int, typer.Option(help="Strikes for each signal.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Disturb the pipeline in every way there is, and print a table of what became of it."""
    chosen = only or [*CASES, *SIGNALS]
    with tempfile.TemporaryDirectory(prefix="phonoscope-chaos-") as folder:
        root, begun = Path(folder), time.perf_counter()
        clone = make_clone(root / "reference" / "phonoscope", TOY)
        clone.dvc("repro", *(targets or []))
        reference = Reference(locked(clone), time.perf_counter() - begun, tuple(targets or []))
        typer.echo(f"reference: {len(reference.locked)} stages in {reference.wall_s:.0f} s", err=True)
        outcomes = []
        for name in chosen:
            if name in NEED_ROOT and os.geteuid():
                typer.echo(f"{name}: left out, only root may mount", err=True)
                continue
            if name in CASES:
                outcome = CASES[name](root, reference)
            else:
                outcome = interrupted(root, reference, SIGNALS[name], moments, seed)
            typer.echo(outcome.row(), err=True)
            outcomes.append(outcome)
    typer.echo("\n| case | strikes | mended on the way | outcome |\n|---|---:|---|---|")
    typer.echo("\n".join(outcome.row() for outcome in outcomes))
    sys.exit(any(outcome.faults for outcome in outcomes))


if __name__ == "__main__":
    typer.run(main)
