"""Run the pipeline on a corpus of recorded speech and keep its tables: `python -m tools.recorded librispeech FOLDER`.

It is a DVC experiment in a temporary folder, named after the corpus: the workspace does not change, an interrupted run
goes on from DVC's run cache, and MLflow has the run. Tables go to docs/results/<name>/, beside the params.yaml of the
run without the folder of the corpus. The audio stays where it is.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from pathlib import Path
from shutil import rmtree
from typing import Annotated

import typer
from ruamel.yaml import YAML

from phonoscope import paths
from phonoscope.tracking.provenance import Experiment, experiments
from tools.imports import ROOT

RESULTS = ROOT / "docs" / "results"
METRICS = paths.SUMMARY.parent
KEPT = (
    *("*.csv", "summary.json", "compare/*.csv", "encode/*.csv", "depth-report/*.csv", "geometry-report/*.csv"),
    *("sae_report/*.csv", "causal/*.csv", "vq-report/*.csv", "encoder-report/*.csv"),
)
"""Files of metrics/ that are kept: what the reports compare, not each stage's own tables."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


def keep(root: Path, revision: str, destination: Path) -> None:
    """Write the tables and parameters of a commit of `root` into a folder, in place of what it holds."""
    archive = subprocess.run(
        ["git", "archive", revision, str(METRICS), str(paths.PARAMS)], cwd=root, capture_output=True, check=True
    ).stdout
    rmtree(destination, ignore_errors=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files.getmembers():
            path = Path(member.name)
            target = path.relative_to(METRICS) if path.is_relative_to(METRICS) else path
            chosen = path == paths.PARAMS or any(
                target.match(pattern) and len(target.parts) == len(Path(pattern).parts) for pattern in KEPT
            )
            if (file := files.extractfile(member)) and chosen:
                (destination / target).parent.mkdir(parents=True, exist_ok=True)
                (destination / target).write_bytes(file.read())
    editor, params = YAML(typ="rt"), destination / paths.PARAMS
    content = editor.load(params)
    content["corpus"]["root"] = f"<folder of {content['corpus']['source']}>"
    editor.dump(content, params)


@app.command()
def main(
    source: Annotated[str, typer.Argument(help="The corpus: a value of corpus.source.")],
    root: Annotated[Path, typer.Argument(help="Its folder.", exists=True, file_okay=False)],
) -> None:
    """Run the pipeline on a corpus and keep its tables in docs/results/<source>/."""
    changes = [f"corpus.source={source}", f"corpus.root={root.resolve()}"]
    settings = [word for change in changes for word in ("-S", change)]
    dvc = [sys.executable, "-m", "dvc", "exp"]
    if _named(source):  # DVC gives a name once
        subprocess.run([*dvc, "remove", *(one.revision for one in _named(source))], cwd=ROOT, check=True)
    if subprocess.run([*dvc, "run", "--temp", "--name", source, *settings], cwd=ROOT).returncode:
        sys.exit(f"recorded: the run on {source} failed; see the message above, then run the same command again")
    keep(ROOT, _named(source)[0].revision, RESULTS / source)


def _named(name: str) -> list[Experiment]:
    return [experiment for experiment in experiments(ROOT) if experiment.name == name]


if __name__ == "__main__":
    app()
