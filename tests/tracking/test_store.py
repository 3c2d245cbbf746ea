"""The tracking store: where it is, and what happens where it does not work."""

import logging
import os
import shutil
import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from phonoscope.config.tracking import TrackingConfig
from phonoscope.errors import EnvironmentFault
from phonoscope.tracking import main_checkout, stage_run, tracking_uri, ui_command
from phonoscope.tracking.records import pending
from phonoscope.tracking.store import Store, flatten, open_store, param_texts, redacted
from phonoscope.tracking.writer import follow

CONFIG = TrackingConfig()
REQUIRED = TrackingConfig(required=True)


def test_four_processes_create_one_store(store: Store) -> None:
    children = store.search("tags.`phonoscope.kind` = 'stage' and tags.`dvc.stage` LIKE 'first%'")
    assert sorted(run.data.metrics["value"] for run in children) == [0, 1, 2, 3]
    assert len({run.data.tags["mlflow.parentRunId"] for run in children}) == 4


def test_uri_is_absolute_and_the_environment_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///runs/other.db")
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path}/runs/other.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/a.db")
    assert tracking_uri(Path("elsewhere")) == f"sqlite:///{tmp_path}/a.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert tracking_uri(tmp_path) == "http://server:5000"


@pytest.mark.parametrize("temporary", ["standalone/tmp8w9dg5a5", "tmpu8vswoov"])
@pytest.mark.parametrize("root_is_named", [True, False])
def test_temporary_experiment_resolves_to_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, temporary: str, root_is_named: bool
) -> None:
    if root_is_named:
        monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert main_checkout(tmp_path / ".dvc/tmp/exps" / temporary) == tmp_path


def test_other_dvc_root_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "outer"))
    assert main_checkout(tmp_path / "inner") == tmp_path / "inner"


def test_ui_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ui_command(tmp_path)
    assert command[command.index("--backend-store-uri") + 1] == f"sqlite:///{tmp_path}/mlflow.db"
    assert command[command.index("--host") + 1] == "127.0.0.1"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://user:secret@server/mlflow")
    with pytest.raises(EnvironmentFault, match="https://server/mlflow") as caught:
        ui_command(tmp_path)
    assert "secret" not in str(caught.value)


def test_names_and_values_fit_mlflow() -> None:
    assert flatten({"a": {"b": 1, "c(d)@e": 2}}) == {"a.b": 1, "a.c_d__e": 2}
    texts = param_texts({"k" * 300: "v" * 7000, "list": [1, "a"], "none": None})
    assert texts == {"k" * 250: "v" * 6000, "list": '[1, "a"]', "none": "null"}


READ_ONLY = "sqlite:////proc/sys/mlflow.db"  # a folder of the kernel's, that not even root may write into
BROKEN = {
    "no server": "http://user:secret@127.0.0.1:{port}",
    "a folder that is a file": "sqlite:///{folder}/file/mlflow.db",
    "not a database": "sqlite:///{folder}/file",
    "the removed file store": "file://{folder}/mlruns",
    "read-only": READ_ONLY,
}


@pytest.fixture(params=BROKEN.values(), ids=BROKEN)
def broken_uri(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "file").write_text("not a database" * 100)
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        uri = str(request.param).format(folder=tmp_path, port=free.getsockname()[1])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    return uri


def test_a_folder_that_cannot_be_written_is_no_lock_to_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", READ_ONLY)
    monkeypatch.setattr("filelock.FileLock.acquire", lambda *_, **__: pytest.fail("it waits for a lock"))
    with pytest.raises(OSError, match="/proc/sys"):
        open_store(tmp_path, CONFIG)


def test_broken_store_costs_one_warning_and_no_result(
    broken_uri: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "output.json"
    with caplog.at_level(logging.WARNING):
        for stage in ("encode@dac", "encode@encodec"):
            with stage_run(stage, {}, CONFIG, root=tmp_path) as recorder:
                output.write_text("result")
                recorder.log({"a": 1.0, "b": [1.0]})
                recorder.finish_parent({"a": 1.0})
        follow(tmp_path, os.getpid())
    (record,) = [record for record in caplog.records if record.name.startswith("phonoscope")]
    message = record.getMessage()
    assert redacted(broken_uri) in message
    assert "sync-mlflow" in message
    assert "secret" not in message
    assert "\n" not in message
    assert output.read_text() == "result"
    assert len(pending(tmp_path)) == 2


def test_broken_store_stops_the_stage_first_if_required(broken_uri: str, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match=r"tracking\.required"), stage_run("s", {}, REQUIRED, root=tmp_path):
        pytest.fail("the stage's work has begun")


@pytest.fixture
def vanishing(tmp_path: Path, checkout: Path) -> Path:
    """A checkout of its own with a working store, to be broken in the middle of a stage."""
    shutil.copy(checkout / "mlflow.db", tmp_path / "mlflow.db")
    return tmp_path


def _break_store(root: Path) -> None:
    with closing(sqlite3.connect(root / "mlflow.db")) as connection:
        connection.execute("DROP TABLE metrics")
        connection.commit()


@pytest.mark.parametrize(
    ("fault", "raised", "said"),
    [(None, EnvironmentFault, "no such table"), (ValueError("broken"), ValueError, "broken")],
    ids=["the store's loss", "the stage's fault"],
)
def test_a_lost_store_that_is_required_fails_the_stage_but_hides_no_other_fault(
    vanishing: Path, fault: Exception | None, raised: type[Exception], said: str
) -> None:
    def lose_the_store() -> None:
        with stage_run("encode@dac", {}, REQUIRED, root=vanishing) as recorder:
            _break_store(vanishing)
            if fault:
                raise fault
            recorder.log({"a": 1.0})

    with pytest.raises(raised, match=said):
        lose_the_store()


def test_locked_store_warns(vanishing: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("phonoscope.tracking.store.BUSY_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(vanishing / "mlflow.db")) as connection, caplog.at_level(logging.WARNING):
        connection.execute("BEGIN EXCLUSIVE")
        with stage_run("encode@dac", {}, CONFIG, root=vanishing):
            pass
        follow(vanishing, os.getpid())
    assert "database is locked" in caplog.text
