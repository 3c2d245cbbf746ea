"""A separate virtual environment for a package whose version pins conflict with this project's."""

import logging
import subprocess
import sysconfig
import venv
from importlib.metadata import version
from pathlib import Path

from phonoscope.errors import EnvironmentFault

log = logging.getLogger(__name__)


def environment_with(requirement: str, folder: Path, timeout_s: float | None = None) -> Path:
    """Create the environment in `folder` if it is missing; return its Python.

    The environment has `requirement` and sees the packages of the running one. PyTorch keeps its version, so that both
    sides of a benchmark run on the same. Raises `EnvironmentFault` if pip cannot install the package, and
    `subprocess.TimeoutExpired` if pip takes longer than `timeout_s` seconds.
    """
    folder = folder.resolve()
    python, done = folder / "bin" / "python", folder / "installed.txt"
    wanted = f"{requirement} torch=={version('torch').split('+')[0]}"
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    log.info("installing %s into %s", requirement, folder)
    venv.create(folder, clear=True, with_pip=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    (site / "host.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    command = [str(python), "-m", "pip", "install", "--quiet", *wanted.split()]
    installed = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    if installed.returncode:
        raise EnvironmentFault(f"pip cannot install {requirement} ({_reason(installed)}); it needs a package index")
    done.write_text(wanted, encoding="utf-8")
    return python


def run_in(python: Path, script: Path, *arguments: str) -> None:
    """Run a script with another Python. Raises `EnvironmentFault` with the last line of the script's error."""
    finished = subprocess.run([str(python), str(script), *arguments], capture_output=True, text=True, cwd=script.parent)
    if finished.returncode:
        raise EnvironmentFault(f"{script.name} failed in {python.parents[1]} ({_reason(finished)})")


def _reason(failed: subprocess.CompletedProcess[str]) -> str:
    return (failed.stderr.strip().splitlines() or ["no reason given"])[-1]
