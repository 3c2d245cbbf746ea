"""Cost of adding a thing: one of each, added to a copy of the checkout in as few files as promised, and run there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from tools.imports import ROOT

COPIED = ("src", "tools", "corpora", "params.yaml", "dvc.yaml")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The checkout's code and declarations."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    return tmp_path


def add(copy: Path, files: Mapping[str, str]) -> None:
    """Create files, or append to those that exist."""
    for name, text in files.items():
        with (copy / name).open("a", encoding="utf-8") as file:
            file.write(dedent(text) if name.endswith(".py") else text)


def python(copy: Path, *arguments: str) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("DVC", "PHONOSCOPE"))}
    environment |= {"PYTHONPATH": f"{copy / 'src'}", "MLFLOW_TRACKING_URI": f"sqlite:///{copy / 'mlflow.db'}"}
    done = subprocess.run([sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


STAGE = {
    "src/phonoscope/pipeline/count.py": '''
        """Stage `count`: how many utterances there are."""

        from __future__ import annotations

        from typing import TYPE_CHECKING

        from phonoscope import paths
        from phonoscope.files import write_csv
        from phonoscope.pipeline.base import StageReport, stage

        if TYPE_CHECKING:
            from phonoscope.config.params import Params


        @stage("count", desc="Number of utterances", params=["split.seed"])
        def run(params: Params) -> StageReport:
            """Write metrics/count.csv."""
            from phonoscope.data import Split

            split = Split.load(paths.SPLIT)
            report = StageReport(metrics={"utterances": len(split.train) + len(split.eval)})
            write_csv(paths.COUNT, report.table())
            return report
        ''',
    "src/phonoscope/paths.py": '\nCOUNT = Path("metrics/count.csv")\n',
    "dvc.yaml": (
        "\n  count:\n    deps:\n      - data/split.json\n    plots:\n      - metrics/count.csv: {cache: false}\n"
    ),
}


def test_a_stage_takes_three_files(copy: Path) -> None:
    assert len(STAGE) == 3
    add(copy, STAGE)
    assert "written" in python(copy, "-m", "tools.write_pipeline")
    entry = (copy / "dvc.yaml").read_text(encoding="utf-8").partition("\n  count:\n")[2]
    assert "cmd: PYTHONPATH=src python -m phonoscope count" in entry
    for dep in ("data/split.json", "requirements.lock", "src/phonoscope/data", "src/phonoscope/pipeline/count.py"):
        assert f"- {dep}\n" in entry
    assert "- split.seed\n" in entry
    (copy / "data").mkdir()
    (copy / "data" / "split.json").write_text('{"train": ["a", "b"], "eval": ["c"]}\n')
    python(copy, "-m", "phonoscope", "count")
    assert (copy / "metrics" / "count.csv").read_text(encoding="utf-8") == "metric,value\nutterances,3\n"
