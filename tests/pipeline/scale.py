"""Twenty thousand utterances through corpus, align, split and encode, each long stage interrupted once: `make scale`.

Prints the time and the memory of every stage, and whether a finished shard was made again.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import psutil
import typer

from phonoscope import paths
from tests.pipeline.clone import Clone, make_clone
from tests.pipeline.disturb import POLL_S, start, strike, wait_for_orphans

STAGES = ("corpus", "align", "split", "codec@encodec", "encode@encodec")
SHARDED = ("corpus", "align", "encode@encodec")
WORDS_OF_ALL = 12 * 14


@dataclass
class Watch:
    """What is seen of a stage while it runs."""

    shards: Path
    peak_bytes: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    """Inode of every finished shard's folder."""
    again: set[str] = field(default_factory=set)
    """Shards that were made twice."""

    def look(self, dvc: subprocess.Popen[bytes]) -> None:
        self.peak_bytes = max(self.peak_bytes, memory_bytes(dvc.pid))
        for shard in self.shards.glob("[!.]*"):
            try:
                inode = shard.stat().st_ino
            except FileNotFoundError:  # all are removed after the last
                continue
            if self.seen.setdefault(shard.name, inode) != inode:
                self.again.add(shard.name)


def memory_bytes(pid: int) -> int:
    """Resident memory of a process and all below it; what they share is counted for each."""
    total = 0
    for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def run(clone: Clone, stage: str, watch: Watch, stop_after: int = 0) -> float:
    """Run a stage, or end it with SIGTERM once so many shards are there; the seconds it took."""
    begun = time.perf_counter()
    dvc = start(clone, "--single-item", stage)
    while dvc.poll() is None:
        watch.look(dvc)
        if stop_after and len(watch.seen) >= stop_after:
            strike(dvc, signal.SIGTERM, "stage")
            dvc.wait()
        time.sleep(POLL_S)
    wait_for_orphans(clone)
    if bool(dvc.returncode) != bool(stop_after):
        log = clone.root.with_suffix(".log").read_text(encoding="utf-8")
        raise RuntimeError(f"{stage} exited with {dvc.returncode}:\n{log[-2000:]}")
    return time.perf_counter() - begun


def row(clone: Clone, stage: str, stop_after: int) -> str:
    """Run a stage, interrupted once after so many shards if it works in shards, as a row of the table."""
    name, _, item = stage.partition("@")
    watch = Watch(clone.root / paths.shards(name, item))
    taken_s = [run(clone, stage, watch, stop_after)] if stage in SHARDED else []
    kept = len(watch.seen)
    taken_s.append(run(clone, stage, watch))
    seconds = " + ".join(f"{each:.0f}" for each in taken_s)
    return f"| `{stage}` | {seconds} | {watch.peak_bytes >> 20} | {kept or ''} | {len(watch.again) if kept else ''} |"


def main(utterances: Annotated[int, typer.Option(help="Words to be spoken.")] = 20_000) -> None:
    """Have that many isolated words spoken, aligned, split and encoded."""
    takes = -(-utterances // WORDS_OF_ALL)
    corpus = {"sentences_per_speaker": 0, "takes": takes, "max_utterances": utterances}
    with tempfile.TemporaryDirectory(prefix="phonoscope-scale-") as folder:
        clone = make_clone(Path(folder) / "phonoscope", {"corpus": corpus})
        typer.echo("| stage | s | peak memory, MiB | shards kept | made again |\n|---|---:|---:|---:|---:|")
        for stage in STAGES:
            typer.echo(row(clone, stage, max(1, utterances // 128)))
        faults = [fault for fault in clone.verify()["faults"] if "has not run" not in fault["reason"]]
    if faults:
        sys.exit("\n".join(map(str, faults)))


if __name__ == "__main__":
    typer.run(main)
