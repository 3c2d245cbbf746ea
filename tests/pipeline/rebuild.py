"""Every stage of a checkout again, in DVC's order but in one process: without a start of Python for each."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

import networkx as nx
from dvc.repo import Repo

from phonoscope.cli import app
from tests.pipeline.clone import OUTPUTS


def commands() -> list[list[str]]:
    """What dvc.lock's stages run, each after those that it rests on."""
    with Repo() as repo:
        order = reversed(list(nx.topological_sort(repo.index.graph)))
        return [shlex.split(stage.cmd)[4:] for stage in order if stage.cmd]


def main() -> None:
    """Remove all outputs of the checkout in which this runs, and make them again."""
    todo = commands()
    for folder in OUTPUTS[:-1]:
        shutil.rmtree(Path(folder))
    for command in todo:
        app(["--quiet", *command], standalone_mode=False)
    sys.stdout.write(f"{len(todo)} stages\n")


if __name__ == "__main__":
    main()
