"""One process per repro that writes the records of its stages to MLflow, while the next stages work.

MLflow takes seconds to import, and a repro has dozens of stages.
"""

import importlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
from filelock import Timeout

from phonoscope.config.tracking import TrackingConfig
from phonoscope.tracking.records import pending, write_pending, writing
from phonoscope.tracking.store import Guard, main_checkout

POLL_S = 0.2


def start_writer(root: Path, starter: int) -> None:
    """Start a process that writes records until the process `starter` has ended; nothing if one writes already."""
    try:
        with writing(root).acquire(blocking=False):
            pass
    except Timeout:
        return
    command = [sys.executable, "-m", "phonoscope.tracking", str(root.resolve()), str(starter)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    # in a session of its own, Ctrl-C does not end it: it writes that the stage was interrupted
    process = subprocess.Popen(
        command, env=environment, cwd=main_checkout(root), stdout=subprocess.DEVNULL, start_new_session=True
    )
    process.returncode = 0  # nobody waits for it, and Python would warn of that


def follow(root: Path, starter: int) -> None:
    """Write records while the process `starter` works, and what is left after it. A failure is one warning."""
    importlib.import_module("mlflow")  # while the first stage works
    guard = Guard(TrackingConfig(), root)
    while True:
        try:
            with writing(root).acquire(blocking=False):
                while guard.attempt(lambda: write_pending(root)) is not None and _works(starter):
                    time.sleep(POLL_S)
        except Timeout:
            return  # another process writes
        # a stage that ended while the lock was held here counts on this process
        if guard.failed or not pending(root):
            return


def _works(process_id: int) -> bool:
    """Whether a process has not ended; a zombie has: its parent only has not asked for the exit code yet."""
    try:
        return psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
