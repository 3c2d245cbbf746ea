import contextlib
import errno
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from phonoscope.cli import app
from phonoscope.commands.app import app as commands_app
from phonoscope.pipeline.base import stages
from phonoscope.pipeline.runner import _alone
from tests import commandline
from tests.commandline import HEAVY, Seen, python
from tests.config.test_params import FILE, written


def phonoscope(folder: Path, *arguments: str, changes: dict[str, Any]) -> Seen:
    written(folder, {"tracking.enabled": False, **changes})
    with contextlib.chdir(folder):
        return commandline.phonoscope(*arguments)


@pytest.mark.parametrize(
    ("stage", "changes", "said"),
    [
        (["corpus"], {"corpus.max_utterance": 10}, ["corpus.max_utterance: unknown key", "'max_utterances'"]),
        (["probe", "dac"], {"probe.classifier.C": 0}, ["probe.classifier.C", "greater than 0"]),
        (["codec", "encodek"], {}, ["codecs.encodek: not in codecs", "'encodec'"]),
        (["summary", "--params", "gone.yaml"], {}, ["gone.yaml: no such file", "--params"]),
    ],
)
def test_a_bad_parameter_stops_a_stage_with_one_line(
    tmp_path: Path, stage: list[str], changes: dict[str, Any], said: list[str]
) -> None:
    line = phonoscope(tmp_path, *stage, changes=changes).refusal(2)
    assert all(part in line for part in said), line
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    "stage", [["align"], ["split"], ["encode", "dac"], ["probe", "dac"], ["compare"], ["summary"]], ids=lambda s: s[0]
)
def test_a_stage_without_its_inputs_names_the_stage_to_run(tmp_path: Path, stage: list[str]) -> None:
    root = str(FILE.parent / "corpora/espeak")
    shutil.copy(FILE.parent / "dvc.yaml", tmp_path)
    done = phonoscope(tmp_path, *stage, changes={"corpus.root": root, "alignment.root": root})
    assert done.out == ""
    assert "dvc repro" in done.refusal(4)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "data/corpus"), ["data/corpus", "free some disk space"]),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "data/corpus"), ["data/corpus", "make it writable"]),
        (ModuleNotFoundError("No module named 'pyarrow'", name="pyarrow"), ["'pyarrow'", "make setup"]),
    ],
    ids=["a full disk", "a read-only disk", "a missing package"],
)
def test_a_fault_of_the_machine_is_told_with_its_remedy(
    error: Exception, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("phonoscope.cli.run_stage", Mock(side_effect=error))
    line = commandline.phonoscope("corpus").refusal(5)
    assert all(part in line for part in said), line


def test_a_stage_waits_for_another_process_that_runs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """DVC, when killed, leaves its stage running; the next repro would write beside it."""
    monkeypatch.chdir(tmp_path)
    events: list[str] = []
    first_is_at_work, go = threading.Event(), threading.Event()

    def first() -> None:
        with _alone("probe@dac"):
            first_is_at_work.set()
            go.wait()
            events.append("first")

    def second() -> None:
        with _alone("probe@dac"):
            events.append("second")

    with ThreadPoolExecutor(2) as pool:
        ahead = pool.submit(first)
        first_is_at_work.wait()
        behind = pool.submit(second)
        while not behind.done() and "waiting for another process" not in caplog.text:
            time.sleep(0.01)
        with _alone("probe@encodec"):
            events.append("another stage")
        go.set()
        ahead.result()
        behind.result()
    assert events == ["another stage", "first", "second"]


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    written(tmp_path, {"corpus.takes": -1})
    done = python(tmp_path, "-m", "phonoscope", "--debug", "corpus")
    assert done.returncode != 0
    assert "Traceback" in done.stderr
    assert "corpus.takes" in done.stderr


LOADED = """
import sys
from phonoscope.cli import main
sys.argv = ["phonoscope", *sys.argv[1:]]
try:
    main()
finally:
    print("loaded:", *sys.modules)
"""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [(["--help"], 0, [*stages(), "fetch", "ui", "sync-mlflow"]), (["corpus"], 2, ["corpus.takes"])],
    ids=["help", "a refusal"],
)
def test_help_and_refusals_load_nothing_heavy(tmp_path: Path, arguments: list[str], code: int, said: list[str]) -> None:
    written(tmp_path, {"corpus.takes": -1})
    done = python(tmp_path, "-c", LOADED, *arguments)
    assert done.returncode == code
    assert all(part in done.stdout + done.stderr for part in said)
    assert not set(done.stdout.rpartition("loaded:")[2].split()) & set(HEAVY)


def test_bad_usage_exits_2(tmp_path: Path) -> None:
    for arguments in (["corpsu"], ["codec"], ["split", "--seed", "3"]):
        assert phonoscope(tmp_path, *arguments, changes={}).code == 2


def test_every_stage_is_a_command_and_every_command_is_explained() -> None:
    assert [command.name for command in app.registered_commands] == list(stages())
    assert all(command.help for command in app.registered_commands)
    assert all(command.callback and command.callback.__doc__ for command in commands_app.registered_commands)
