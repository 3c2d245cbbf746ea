"""Benchmarks and maintainers' tools stand outside the package: no stage and no shard depends on them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from dvc.repo import Repo

ROOT = Path(__file__).parents[2]
DIGEST = "from phonoscope.shards import code_digest; print(code_digest())"


def test_no_stage_depends_on_them() -> None:
    stages = Repo(str(ROOT)).index.stages
    parts = {Path(dependency.def_path).parts[0] for stage in stages for dependency in stage.deps}
    assert "src" in parts
    assert not parts & {"benchmarks", "tools"}  # nor does the package import them, see test_locks.py


def test_a_shard_outlives_an_edit_of_a_benchmark_and_not_one_of_the_package(tmp_path: Path) -> None:
    def digest() -> str:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path / "src")}
        command = [sys.executable, "-c", DIGEST]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    for folder in ("src", "benchmarks", "tools"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=lambda _, names: [n for n in names if n == "packaged"])
    before = digest()
    for edited in ("benchmarks/measure.py", "tools/train_packaged.py"):
        with (tmp_path / edited).open("a") as file:
            file.write("# edited\n")
    assert digest() == before
    with (tmp_path / "src/phonoscope/audio.py").open("a") as file:
        file.write("# edited\n")
    assert digest() != before
