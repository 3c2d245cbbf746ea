"""One store for all tests of tracking."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from phonoscope.config.tracking import TrackingConfig
from phonoscope.tracking.store import Store, open_store
from tests.commandline import SOURCE

FIRST_USE = """
import sys
from pathlib import Path
from phonoscope.config.tracking import TrackingConfig
from phonoscope.tracking import stage_run

with stage_run(sys.argv[1], {}, TrackingConfig(required=True)) as recorder:
    recorder.log({"value": float(sys.argv[2])})
"""


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _no_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process of its own for stages that run in the tests' process: its starter would be pytest."""
    monkeypatch.setattr("phonoscope.tracking.runs.start_writer", lambda root, starter: None)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store four processes have met at once while there was none."""
    root = tmp_path_factory.mktemp("checkout")
    environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI" and not k.startswith("DVC")}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_USE, f"first{number}", str(number)],
            cwd=root,
            env={**environment, "PYTHONPATH": str(SOURCE)},
        )
        for number in range(4)
    ]
    assert [process.wait(timeout=600) for process in processes] == [0, 0, 0, 0]
    return root


@pytest.fixture
def experiment(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """Make the test a DVC experiment of its own, so that it has its own parent run in the shared store."""
    name = request.node.name.replace("_", "-")
    monkeypatch.setenv("DVC_EXP_NAME", name)
    monkeypatch.setenv("DVC_EXP_BASELINE_REV", "b" * 40)
    return name


@pytest.fixture
def store(checkout: Path) -> Store:
    return open_store(checkout, TrackingConfig())
