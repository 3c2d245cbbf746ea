"""The wheel is whole: installed into a fresh environment, it does the jobs of docs/library.md from any folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.pages import script_of

ROOT = Path(__file__).parents[1]
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


def run(*command: str | Path, cwd: Path) -> str:
    """Standard output of a command that sees neither the checkout's source nor a package index."""
    environment = {**os.environ, "PIP_NO_INDEX": "1"}
    environment.pop("PYTHONPATH", None)  # conftest.py puts src there
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel, which sees the other packages of the running one; nothing is downloaded."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # setuptools writes into the folder that it builds from
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    run(*PIP, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    target = folder / "environment"
    venv.create(target)
    run(*PIP, "--python", target, "install", "--no-deps", wheel, cwd=folder)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(target), "platbase": str(target)}))
    (site / "host.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")  # .pth files there are not read
    return target


def test_every_file_of_the_package_is_in_it(environment: Path) -> None:
    def files(folder: Path) -> set[str]:
        return {
            path.relative_to(folder).as_posix()
            for path in folder.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }

    (installed,) = environment.glob("lib/*/site-packages/phonoscope")
    assert files(installed) == files(ROOT / "src" / "phonoscope")


def test_the_jobs_of_the_library_page_run_there(environment: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    (tmp_path / "library.py").write_text(
        f"{script_of(page)}\nimport phonoscope\nprint(phonoscope.__file__)\n", encoding="utf-8"
    )
    printed = run(environment / "bin" / "python", "library.py", cwd=tmp_path).splitlines()
    assert Path(printed[-1]).is_relative_to(environment)
    assert len(printed) > 10
    assert [path.name for path in tmp_path.iterdir()] == ["library.py"]


def test_its_command_stands_in_the_environment(environment: Path, tmp_path: Path) -> None:
    assert "diagnose-vq" in run(environment / "bin" / "phonoscope", "--help", cwd=tmp_path)
