"""Run the pipeline on a corpus of recorded speech and keep its results: `python -m tools.recorded librispeech FOLDER`.

It runs in a temporary clone of the commit that is checked out, so neither the workspace nor its results change. Tables
go to docs/results/<name>/, beside the params.yaml of that run without the folder of the corpus. The audio stays where
it is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from phonoscope import paths
from tools.imports import ROOT

RESULTS = ROOT / "docs" / "results"
KEPT = (
    "*.csv", "summary.json", "compare/*.csv", "encode/*.csv", "depth-report/*.csv", "geometry-report/*.csv",
    "sae_report/*.csv", "causal/*.csv", "vq-report/*.csv", "encoder-report/*.csv",
)  # fmt: skip
"""Files of metrics/ that are kept: what the reports compare, not each stage's own tables."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def clone(folder: Path) -> None:
    """A clone of the checkout with its virtual environment and DVC cache."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    (folder / ".venv").symlink_to(ROOT / ".venv")


def set_corpus(folder: Path, source: str, root: Path) -> None:
    """Point the clone's params.yaml at a corpus."""
    yaml, file = YAML(), folder / paths.PARAMS
    params = yaml.load(file)
    params["corpus"] |= {"source": source, "root": str(root.resolve())}
    yaml.dump(params, file)


def keep(folder: Path, destination: Path) -> None:
    """Copy the tables, and the parameters without the path of the corpus, which means nothing elsewhere."""
    shutil.rmtree(destination, ignore_errors=True)
    metrics = folder / paths.SUMMARY.parent
    for pattern in KEPT:
        for file in metrics.glob(pattern):
            target = destination / file.relative_to(metrics)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    yaml = YAML()
    params: Any = yaml.load(folder / paths.PARAMS)
    params["corpus"]["root"] = f"<folder of {params['corpus']['source']}>"
    yaml.dump(params, destination / paths.PARAMS.name)


@app.command()
def main(
    source: Annotated[str, typer.Argument(help="The corpus: a value of corpus.source.")],
    root: Annotated[Path, typer.Argument(help="Its folder.", exists=True, file_okay=False)],
) -> None:
    """Run the pipeline on a corpus and keep its tables in docs/results/<source>/."""
    with tempfile.TemporaryDirectory(prefix="phonoscope-recorded-") as temporary:
        folder = Path(temporary) / "phonoscope"
        clone(folder)
        set_corpus(folder, source, root)
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        if subprocess.run(["dvc", "repro"], cwd=folder, env=environment).returncode:
            sys.exit(f"recorded: the run on {source} failed; see the message above")
        keep(folder, RESULTS / source)


if __name__ == "__main__":
    app()
