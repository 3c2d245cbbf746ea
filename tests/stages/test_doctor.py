from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from phonoscope.integrity.faults import Fault
from phonoscope.stages import doctor
from tests.pipeline.clone import Clone


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A git and DVC repository with one stage that has run."""
    clone = Clone(tmp_path / "checkout")
    clone.root.mkdir()
    clone.run("git", "init", "--quiet")
    clone.identify()
    clone.dvc("init", "--quiet")
    (clone.root / "dvc.yaml").write_text(
        "stages:\n  one:\n    cmd: mkdir -p data && echo 1 > data/a\n    outs: [data/a]\n"
    )
    clone.dvc("repro", "--quiet")
    clone.commit("one")
    return clone.root


def found(root: Path) -> list[tuple[str, str]]:
    return [(fault.path, fault.reason) for fault in doctor.diagnose(root) if fault.mend != "run `make setup`"]


def test_a_sound_checkout_has_no_fault(checkout: Path) -> None:
    assert found(checkout) == []
    assert "nothing" in doctor.describe([])


@pytest.mark.parametrize("content", ["", "schema: '2.0'\nstages:\n  one:\n    cm", "a: b\n"])
def test_a_damaged_lock_is_named_with_its_mend(checkout: Path, content: str) -> None:
    before = (checkout / "dvc.lock").read_bytes()
    (checkout / "dvc.lock").write_text(content)
    (fault,) = [fault for fault in doctor.diagnose(checkout) if fault.path == "dvc.lock"]
    assert "git checkout -- dvc.lock" in fault.mend
    clone = Clone(checkout)
    assert clone.run("dvc", "repro", check=False).returncode != 0
    clone.run("git", "checkout", "--", "dvc.lock")
    assert "up to date" in clone.dvc("repro")
    assert (checkout / "dvc.lock").read_bytes() == before


def test_a_damaged_list_of_locks_is_named_with_its_mend(checkout: Path) -> None:
    rwlock = checkout / ".dvc" / "tmp" / "rwlock"
    rwlock.write_text('{"write": {"da')
    assert [path for path, _ in found(checkout)] == [".dvc/tmp/rwlock"]
    rwlock.unlink()
    assert found(checkout) == []


def test_what_a_killed_stage_left_is_named(checkout: Path) -> None:
    (checkout / "data" / ".tokens-x.tmp").mkdir()
    (checkout / "data" / ".split-y.tmp.json").write_text("{")
    assert [path for path, _ in found(checkout)] == ["data/.split-y.tmp.json", "data/.tokens-x.tmp"]


@pytest.fixture
def orphan(checkout: Path) -> Iterator[int]:
    (checkout / "phonoscope.py").write_text("import time\nprint('up', flush=True)\ntime.sleep(60)\n")
    command = [sys.executable, "-m", "phonoscope", "probe", "dac"]
    with subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, env={"PATH": os.environ["PATH"]}) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.kill()


def test_a_stage_that_outlived_its_dvc_is_named(checkout: Path, orphan: int) -> None:
    (fault,) = [fault for fault in doctor.diagnose(checkout) if fault.path == "probe dac"]
    assert str(orphan) in fault.mend


def test_a_stage_that_dvc_waits_for_is_none(checkout: Path, orphan: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_has_dvc_above", lambda process: process.pid == orphan)
    assert found(checkout) == []


def test_a_damaged_tracking_store_is_named(checkout: Path) -> None:
    database = checkout / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("create table runs (id)")
    assert found(checkout) == []
    database.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    assert [path for path, _ in found(checkout)] == ["mlflow.db"]


def test_little_room_and_foreign_packages_are_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "FREE_BYTES", 1 << 60)
    (checkout / "requirements.lock").write_text(
        "numpy==0.1 \\\n    --hash=sha256:0\n"
        "no-such-package==1 ; python_version > '2'\nelse==1 ; python_version < '2'\n"
    )
    faults = doctor.diagnose(checkout)
    assert [fault.path for fault in faults] == [checkout.name, "numpy", "no-such-package"]
    assert doctor.describe(faults).count("\n") == 2


def test_a_read_only_folder_is_named(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # asked, not made: root may write everywhere
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "data")
    assert [path for path, _ in found(checkout)] == ["data"]


def test_a_fault_reads_as_one_line() -> None:
    fault = Fault("a.csv", "workspace", "differs", "run it")
    assert str(fault) == "a.csv: differs; run it"
    assert fault.to_dict()["where"] == "workspace"
