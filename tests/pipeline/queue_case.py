"""DVC experiments in its queue, by two workers at once, and in a temporary folder: a case of `make chaos`."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psutil

from tests.pipeline.clone import TOY, Clone, make_clone
from tests.pipeline.disturb import Outcome, Reference, locked

if TYPE_CHECKING:
    from pathlib import Path

TARGET = "probe@speechtokenizer"
STAGES = {"corpus", "align", "split", *(f"{part}@speechtokenizer" for part in ("codec", "encode", "probe"))}
CHANGED = {"weak": "0.01", "weaker": "0.02"}
"""Experiment -> its `probe.classifier.C`; the experiment `plain` changes nothing."""
POLL_S = 2.0


def queued(root: Path, reference: Reference) -> Outcome:
    """Two experiments by two queue workers in a checkout without results or store, then one with `--temp`.

    All of them must succeed and lock the hashes of undisturbed runs, and every stage they ran must have its finished
    run in the checkout's MLflow store.
    """
    clone = make_clone(root / "queue" / "phonoscope", TOY)
    outcome = Outcome("`dvc exp run` in the queue, 2 workers, and `--temp`")
    outputs = _run_queue(clone)
    outputs["weaker"] = clone.dvc("exp", "run", "--temp", *_options("weaker"))
    outcome.faults += [f"{name} failed" for name in outputs if name not in _experiments(clone)]
    outcome.faults += list(_lost_runs(clone, outputs))
    outcome.faults += list(_differences(clone, reference))
    return outcome


def _options(name: str) -> list[str]:
    changes = ["-S", f"probe.classifier.C={CHANGED[name]}"] if name in CHANGED else []
    return ["--name", name, *changes, TARGET]


def _run_queue(clone: Clone) -> dict[str, str]:
    """What two workers printed of each experiment."""
    names = ("plain", "weak")
    for name in names:
        clone.dvc("exp", "run", "--queue", *_options(name))
    with _workers_ended(clone):
        clone.dvc("queue", "start", "--jobs", "2")
        while re.search(r"\b(Queued|Running)\b", clone.dvc("queue", "status")):
            time.sleep(POLL_S)
    return {name: clone.dvc("queue", "logs", name) for name in names}


@contextmanager
def _workers_ended(clone: Clone) -> Iterator[None]:
    """DVC's workers are processes of their own, which would outlive an error here."""
    before = set(psutil.pids())
    try:
        yield
    finally:
        clone.dvc("queue", "stop", "--kill", check=False)
        for process in [process for process in psutil.process_iter() if process.pid not in before]:
            if _works_in(process, clone.root):
                process.terminate()
                process.wait()


def _works_in(process: psutil.Process, root: Path) -> bool:
    try:
        return process.cwd() == str(root.resolve()) and "dvc" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _experiments(clone: Clone) -> dict[str, str]:
    """Experiment -> commit."""
    lines = clone.run("git", "for-each-ref", "--format=%(refname) %(objectname)", "refs/exps").stdout.splitlines()
    return {line.split()[0].rpartition("/")[2]: line.split()[1] for line in lines}


def _differences(clone: Clone, reference: Reference) -> Iterator[str]:
    """Stages of an experiment whose outputs are not those of a plain run with its parameters."""
    expected = {"plain": {stage: reference.locked[stage] for stage in STAGES}}
    for name, strength in CHANGED.items():
        clone.set_params({"probe": {"classifier": {"C": float(strength)}}})
        clone.dvc("repro", *(["--force"] if name == "weak" else ["--no-run-cache"]), TARGET)
        expected[name] = locked(clone)
    for name, revision in _experiments(clone).items():
        if name in expected:
            there = locked(clone, revision)
            yield from (f"{stage} of {name} differs" for stage in STAGES if there.get(stage) != expected[name][stage])


def _lost_runs(clone: Clone, outputs: dict[str, str]) -> Iterator[str]:
    """Stages that an experiment ran and that have no finished run in the checkout's store."""
    with closing(sqlite3.connect(clone.root / "mlflow.db")) as connection:
        written = connection.execute(
            "select value from tags join runs using (run_uuid) where key = 'phonoscope.record' and status = 'FINISHED'"
        )
        finished = {record for (record,) in written}
    rows = [json.loads(line) for line in (clone.root / ".phonoscope/timings.jsonl").read_text().splitlines()]
    tracked = {(row["dvc.exp_name"], row["stage"]) for row in rows if row["record"] in finished}
    for name, output in outputs.items():
        ran = set(re.findall(r"Running stage '([^']+)'", output))
        if TARGET not in ran:
            yield f"{name} did not run {TARGET}"
        yield from (f"{stage} of {name} has no run" for stage in sorted(ran) if (name, stage) not in tracked)
