"""The process that writes records of stages to MLflow, and records that had to wait."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pytest

from phonoscope.config.tracking import TrackingConfig
from phonoscope.tracking import records, stage_run, sync_mlflow
from phonoscope.tracking.records import pending, write_pending
from phonoscope.tracking.store import Store, open_store
from phonoscope.tracking.writer import follow, start_writer
from tests.commandline import python

CONFIG = TrackingConfig()
TWO_STAGES = """
from pathlib import Path
from phonoscope.config.tracking import TrackingConfig
from phonoscope.tracking import stage_run

for number in range(2):
    with stage_run(f"stage{number}", {}, TrackingConfig()) as recorder:
        recorder.log({"value": float(number)})
"""


@pytest.fixture
def root(tmp_path: Path, checkout: Path) -> Path:
    """A checkout of its own with a working store."""
    shutil.copy(checkout / "mlflow.db", tmp_path / "mlflow.db")
    return tmp_path


def _stage(root: Path, name: str, value: float = 1.0, figures: tuple[Path, ...] = ()) -> None:
    with stage_run(name, {}, CONFIG, root=root) as recorder:
        recorder.log({"value": value}, figures)


def _stages(store: Store) -> dict[str, float]:
    runs = store.search("tags.`phonoscope.kind` = 'stage' and tags.`dvc.stage` LIKE 'stage%'")
    names = [run.data.tags["dvc.stage"] for run in runs]
    assert len(set(names)) == len(names)
    return {run.data.tags["dvc.stage"]: run.data.metrics["value"] for run in runs}


def test_all_stages_are_written_when_the_process_that_started_them_has_ended(root: Path) -> None:
    # the writer holds standard error open, so this returns after the writer
    done = python(root, "-c", TWO_STAGES)
    assert done.returncode == 0, done.stderr
    assert pending(root) == []
    store = open_store(root, CONFIG)
    assert _stages(store) == {"stage0": 0.0, "stage1": 1.0}
    runs = store.search("tags.`dvc.stage` LIKE 'stage%'")
    assert len({run.data.tags["mlflow.parentRunId"] for run in runs}) == 1
    assert all(run.info.end_time >= run.info.start_time for run in runs)


def test_a_figure_is_kept_as_it_was_when_its_stage_ended(root: Path) -> None:
    figure = root / "figure.png"
    figure.write_bytes(b"then")
    _stage(root, "stage", figures=(figure,))
    figure.write_bytes(b"later")
    write_pending(root)
    (run,) = open_store(root, CONFIG).search("tags.`dvc.stage` = 'stage'")
    folder = Path(url2pathname(urlsplit(run.info.artifact_uri).path))
    assert (folder / "figures/figure.png").read_bytes() == b"then"


def test_a_record_whose_writer_was_killed_becomes_one_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stage(root, "stage", 3.0)
    with monkeypatch.context() as patch:
        patch.setattr(records, "shutil", SimpleNamespace(rmtree=lambda folder: sys.exit("killed")))
        with pytest.raises(SystemExit):
            write_pending(root)
    assert len(pending(root)) == 1
    write_pending(root)
    assert pending(root) == []
    assert _stages(open_store(root, CONFIG)) == {"stage": 3.0}


def test_what_a_dead_server_did_not_take_is_written_by_sync(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/params.yaml/mlflow.db")
    (root / "params.yaml").write_text("C: 1\n")
    _stage(root, "stage", 5.0)
    follow(root, os.getpid())
    assert len(pending(root)) == 1
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    sync_mlflow(root, CONFIG)
    assert pending(root) == []
    assert _stages(open_store(root, CONFIG)) == {"stage": 5.0}


def test_there_is_one_writer(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **_: started.append(command) or type("P", (), {})())
    with records.writing(root):
        start_writer(root, os.getpid())
        assert started == []
    start_writer(root, os.getpid())
    assert len(started) == 1


def test_the_writer_does_not_wait_for_a_process_that_nobody_has_asked_for_its_exit_code(root: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    while Path(f"/proc/{ended.pid}/stat").read_text().split()[2] != "Z":
        pass
    _stage(root, "stage")
    follow(root, ended.pid)
    assert pending(root) == []
    ended.wait()
