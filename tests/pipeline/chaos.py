"""The pipeline at toy scale, interrupted, moved, starved and run twice at once: `make chaos`. Takes an hour or more.

Every case ends with a repro that must lock the same hashes as one that nobody disturbed.
"""

from __future__ import annotations

import itertools
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
    repair,
    start,
    strike_until_ended,
)
from tests.pipeline.queue_case import queued

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
VICTIMS = ("dvc", "stage")
FREE_MIB = (2, 6, 16)
DISK_MIB = 1_500
TARGETS = Annotated[list[str] | None, typer.Argument(help="DVC targets; all stages if there is none.")]


def interrupted(root: Path, reference: Reference, moments: int, seed: int) -> Outcome:
    """Repro after repro, each struck at a random moment, by all signals and victims by turns; then one to the end."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, and all below, ignore it
    clone = make_clone(root / "interrupted" / "phonoscope", TOY)
    outcome = Outcome(f"{', '.join(number.name for number in SIGNALS)} to DVC and to its stage, {moments} each")
    weapons = itertools.cycle(itertools.product(SIGNALS, VICTIMS))
    total, draw = moments * len(SIGNALS) * len(VICTIMS), random.Random(seed)
    progress = tqdm(total=total, desc="strikes", disable=None)
    while outcome.strikes < total:
        dvc = start(clone, *reference.targets)
        try:
            dvc.wait(draw.expovariate(total / (2 * reference.wall_s)) + 2.0)  # DVC itself starts for two seconds
        except subprocess.TimeoutExpired:
            number, victim = next(weapons)
            strike_until_ended(dvc, number, victim)
            outcome.strikes += 1
            progress.update()
        else:
            if dvc.returncode == 0:  # everything is there: begin again
                forget(clone)
        outcome.faults += half_written(clone, reference.outputs)
        outcome.repairs += repair(clone)
    return finish(clone, reference, outcome)


def elsewhere(root: Path, reference: Reference) -> Outcome:
    """A path with spaces and other letters, one worker, another locale and time zone; and two repros at once in it."""
    clone = make_clone(root / "ein Ördner с пробелами" / "phonoscope", TOY)
    clone.set_params({"compute": {"workers": 1}})
    environment = {"LC_ALL": "C", "LANG": "C", "TZ": "Asia/Kolkata"}
    for process in [start(clone, *reference.targets, environment=environment) for _ in range(2)]:
        process.wait()  # one may be refused, neither may harm the other
    outcome = Outcome("two `dvc repro` at once, under another path, locale, time zone and number of workers", strikes=1)
    return finish(clone, reference, outcome, environment=environment)


def forced(root: Path, reference: Reference) -> Outcome:
    """All stages again in a checkout where everything is up to date."""
    clone, outcome = Clone(root / "reference" / "phonoscope"), Outcome("`dvc repro --force` in an old checkout")
    clone.dvc("repro", "--force", *reference.targets)
    return finish(clone, reference, outcome)


def starved(root: Path, reference: Reference) -> Outcome:
    """Folders of outputs that cannot be written, then a file system with a little room and more until all fits.

    Both by mounts, for which it takes root: root may write into any folder.
    """
    with mounted(root / "disk", "tmpfs", "-o", f"size={DISK_MIB}m") as disk:
        clone, outcome = make_clone(disk / "phonoscope", TOY), Outcome("read-only output folders, then a full disk")
        for name in sorted({Path(output).parts[0] for output in reference.outputs}):
            folder = clone.root / name
            with mounted(folder, str(folder), "--bind"):
                subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
                _must_fail(clone, reference, outcome, f"{name} read-only")
        for free_mib in FREE_MIB:
            fill(disk / "ballast", free_mib)
            _must_fail(clone, reference, outcome, f"{free_mib} MiB free")
            (disk / "ballast").unlink()
        return finish(clone, reference, outcome)


def _must_fail(clone: Clone, reference: Reference, outcome: Outcome, why: str) -> None:
    if start(clone, *reference.targets).wait() == 0:
        outcome.faults.append(f"a repro with {why} ended well")
    outcome.strikes += 1
    outcome.faults += half_written(clone, reference.outputs)
    outcome.repairs += repair(clone)


def fill(ballast: Path, free_mib: int) -> None:
    """Leave so much of a file system free."""
    system = os.statvfs(ballast.parent)
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(system.f_bavail * system.f_frsize - (free_mib << 20), 1))


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


CASES = {case.__name__: case for case in (forced, elsewhere, queued, starved, interrupted)}
ONLY = Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(CASES)}; all if it is not given.")]


def main(
    targets: TARGETS = None,
    only: ONLY = None,
    moments: Annotated[int, typer.Option(help="Strikes by each signal on each of DVC and its stage.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
) -> None:
    """Disturb the pipeline in every way there is, and print a table of what became of it."""
    with tempfile.TemporaryDirectory(prefix="phonoscope-chaos-") as folder:
        root, begun = Path(folder), time.perf_counter()
        clone = make_clone(root / "reference" / "phonoscope", TOY)
        clone.dvc("repro", *(targets or []))
        reference = Reference(locked(clone), time.perf_counter() - begun, tuple(targets or []))
        typer.echo(f"reference: {len(reference.locked)} stages in {reference.wall_s:.0f} s", err=True)
        outcomes = []
        for name in only or CASES:
            if name == starved.__name__ and os.geteuid():
                typer.echo(f"{name}: left out, only root may mount", err=True)
                continue
            more = {"moments": moments, "seed": seed} if name == interrupted.__name__ else {}
            outcomes.append(CASES[name](root, reference, **more))
            typer.echo(outcomes[-1].row(), err=True)
    typer.echo("\n| case | strikes | repaired on the way | outcome |\n|---|---:|---|---|")
    typer.echo("\n".join(outcome.row() for outcome in outcomes))
    sys.exit(any(outcome.faults for outcome in outcomes))


if __name__ == "__main__":
    typer.run(main)
