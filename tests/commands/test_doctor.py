from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from phonoscope.commands import doctor
from phonoscope.pipeline.integrity.faults import Fault
from tests.pipeline.clone import Clone


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git and DVC repository with one stage that has run."""
    clone = Clone(tmp_path_factory.mktemp("made") / "checkout").initialise()
    clone.dvc("init", "--quiet")
    (clone.root / "params.yaml").write_text("codecs: {dac: {kind: dac}}\ncorpus: {takes: 1}\n")
    (clone.root / "dvc.yaml").write_text(
        "stages:\n  one:\n    cmd: mkdir -p data && echo ${corpus.takes} > data/a\n    outs: [data/a]\n"
    )
    clone.dvc("repro", "--quiet")
    clone.commit("one")
    return clone.root


@pytest.fixture
def checkout(made: Path, tmp_path: Path) -> Path:
    """A copy of `made`."""
    return Path(shutil.copytree(made, tmp_path / "checkout", symlinks=True))


def named(root: Path) -> list[tuple[str, str]]:
    return [(fault.path, fault.reason) for fault in doctor.diagnose(root) if fault.fix != "run `make setup`"]


@pytest.mark.parametrize(
    ("content", "in_git"),
    [("", True), ("schema: '2.0'\nstages:\n  one:\n    cm", True), ("a: b\n", True), ("{", False)],
)
def test_a_damaged_lock_is_named_with_its_fix(checkout: Path, content: str, in_git: bool) -> None:
    clone, lock = Clone(checkout), checkout / "dvc.lock"
    before = lock.read_bytes()
    if not in_git:
        clone.run("git", "rm", "--quiet", "--cached", "dvc.lock")
    lock.write_text(content)
    (fault,) = [fault for fault in doctor.diagnose(checkout) if fault.path == "dvc.lock"]
    assert ("git checkout -- dvc.lock" if in_git else "remove `dvc.lock`") in fault.fix
    assert clone.run("dvc", "repro", check=False).returncode != 0
    if in_git:
        clone.run("git", "checkout", "--", "dvc.lock")
    else:
        lock.unlink()
    assert ("up to date" in clone.dvc("repro")) == in_git
    assert lock.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("params.yaml", b"corpus: {tak", "not readable YAML"),
        ("params.yaml", b"\xff", "not readable YAML"),
        ("params.yaml", b"codecs: {dac: {kind: dac}}\ncorpus: {takes: -1}\n", "corpus.takes: "),
        ("params.yaml", b"codecs: {dac: {kind: dac}}\n", "Could not find 'corpus.takes'"),
        ("dvc.yaml", b"stages: [", "dvc.yaml"),
        ("dvc.yaml", b"stages: {one: 1}", "dvc.yaml"),
        (".dvc/config", b"[core", "config file error"),
    ],
)
def test_a_file_of_the_users_that_cannot_be_read_is_named_and_kept(
    checkout: Path, name: str, content: bytes, reason: str
) -> None:
    (checkout / name).write_bytes(content)
    (fault,) = [fault for fault in doctor.diagnose(checkout) if fault.fix != "run `make setup`"]
    assert fault.path == name
    assert reason in fault.reason
    assert fault.fix == f"correct it; `git diff {name}` shows what has changed"


def test_a_bad_parameter_does_not_hide_a_damaged_lock(checkout: Path) -> None:
    (checkout / "params.yaml").write_text("codecs: {dac: {kind: dac}}\ncorpus: {takes: -1}\n")
    (checkout / "dvc.lock").write_text("")
    assert [path for path, _ in named(checkout)] == ["params.yaml", "dvc.lock"]


def test_a_missing_pipeline_or_repository_is_named(checkout: Path, tmp_path: Path) -> None:
    (checkout / "dvc.yaml").unlink()
    assert ("dvc.yaml", "missing") in named(checkout)
    assert named(tmp_path) == [(str(tmp_path), "not the root of a DVC repository")]


def test_what_a_killed_dvc_and_a_killed_stage_left_is_named(checkout: Path) -> None:
    assert named(checkout) == []
    (checkout / ".dvc" / "tmp" / "rwlock").write_text('{"write": {"da')
    (checkout / "data" / ".tokens-x.tmp").mkdir()
    (checkout / "data" / ".split-y.tmp.json").write_text("{")
    left = [".dvc/tmp/rwlock", "data/.split-y.tmp.json", "data/.tokens-x.tmp"]
    assert [path for path, _ in named(checkout)] == left


@contextmanager
def running(checkout: Path, *command: str) -> Iterator[int]:
    """`python <command>` in the checkout, where `-m phonoscope` waits and `-m dvc` runs the stage `probe x`."""
    (checkout / "phonoscope.py").write_text("import time\nprint('up', flush=True)\ntime.sleep(60)\n")
    (checkout / "dvc.py").write_text(
        "import subprocess, sys\n"
        "stage = subprocess.Popen([sys.executable, '-m', 'phonoscope', 'probe', 'x'])\n"
        "sys.stdin.read()\nstage.kill()\n"
    )
    environment = {"PATH": os.environ["PATH"]}
    with subprocess.Popen(
        [sys.executable, *command], cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.stdin.close()
        if "dvc" not in command:
            process.kill()


@pytest.mark.parametrize("options", [[], ["--quiet"]])
def test_a_stage_that_outlived_its_dvc_is_named(checkout: Path, options: list[str]) -> None:
    with running(checkout, "-m", "phonoscope", *options, "probe", "x") as pid:
        (fault,) = [fault for fault in doctor.diagnose(checkout) if fault.path == "probe x"]
    assert str(pid) in fault.fix


@pytest.mark.parametrize("command", ["dvc repro", "phonoscope verify", "phonoscope inspect dac"])
def test_a_stage_with_its_dvc_and_another_command_are_no_orphans(checkout: Path, command: str) -> None:
    with running(checkout, "-m", *command.split()):
        assert named(checkout) == []


@pytest.fixture
def database(checkout: Path) -> Path:
    """A sound tracking store."""
    with closing(sqlite3.connect(checkout / "mlflow.db")) as connection:
        connection.execute("create table runs (id)")
        connection.commit()
    assert named(checkout) == []
    return checkout / "mlflow.db"


def store_fault(database: Path) -> Fault:
    (fault,) = [fault for fault in doctor.diagnose(database.parent) if fault.path == "mlflow.db"]
    return fault


def test_a_damaged_tracking_store_is_to_be_moved_away_with_its_journal(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.executemany("insert into runs values (?)", [("x" * 500,)] * 100)
        connection.commit()
    whole, page = database.read_bytes(), 4096 * 3
    for content in (whole[:page] + b"\xff" * 50 + whole[page + 50 :], b"SQLite format 3\0" + b"x" * 5000, b"x" * 5000):
        database.write_bytes(content)
        assert "damaged" in store_fault(database).reason
    database.with_name("mlflow.db-journal").touch()
    assert store_fault(database).fix.startswith("move mlflow.db and mlflow.db-journal away")


def test_a_tracking_store_that_another_uses_is_not_damaged(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "BUSY_TIMEOUT_S", 0.01)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("begin exclusive")
        fault = store_fault(database)
    assert "in use" in fault.reason
    assert fault.fix.startswith("wait")


def test_a_tracking_store_whose_writer_was_killed_is_not_damaged(database: Path) -> None:
    """SQLite takes back what its journal says."""
    writer = (
        "import os, signal, sqlite3\n"
        f"connection = sqlite3.connect({str(database)!r})\n"
        "connection.execute('pragma cache_size = 1')\n"
        "connection.executemany('insert into runs values (?)', [('x' * 2000,)] * 3000)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", writer], check=False)
    assert database.with_name("mlflow.db-journal").stat().st_size
    assert named(database.parent) == []
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("select count(*) from runs").fetchone() == (0,)


def test_a_tracking_store_that_cannot_be_opened_is_not_damaged(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **keywords: object) -> None:
        error = sqlite3.OperationalError("attempt to write a readonly database")
        error.sqlite_errorcode = sqlite3.SQLITE_READONLY | 3 << 8
        raise error

    monkeypatch.setattr(sqlite3, "connect", refuse)  # root may write everywhere
    assert "not usable" in store_fault(database).reason


def test_little_room_and_foreign_packages_are_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FREE_BYTES", 1 << 60)
    (checkout / "requirements.lock").write_text(
        "numpy==0.1 \\\n    --hash=sha256:0\n"
        "no-such-package==1 ; python_version > '2'\nelse==1 ; python_version < '2'\n"
    )
    faults = doctor.diagnose(checkout)
    assert [fault.path for fault in faults] == [checkout.name, "numpy", "no-such-package"]
    assert str(faults[0]) == f"{faults[0].path}: {faults[0].reason}; {faults[0].fix}"


def test_a_read_only_folder_is_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # asked, not made: root may write everywhere
    (checkout / "metrics" / "probes").mkdir(parents=True)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name not in ("data", "probes", ".dvc"))
    assert [path for path, _ in named(checkout)] == [".dvc", "data", "metrics/probes"]
