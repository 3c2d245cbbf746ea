"""The real command line, in this process and in a new one."""

import io
import logging
import os
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from phonoscope import cli

SOURCE = Path(__file__).parents[1] / "src"
HEAVY = ("torch", "transformers", "mlflow", "sklearn", "scipy", "librosa", "matplotlib", "pandas", "pyarrow", "numba")
"""Packages that are slow to import."""


def python(folder: Path, *arguments: str, source: Path = SOURCE) -> subprocess.CompletedProcess[str]:
    """A Python process in `folder`, with its own tracking store there."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("DVC", "PHONOSCOPE"))}
    environment |= {"PYTHONPATH": str(source), "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


class Seen(NamedTuple):
    """What a command showed."""

    code: int
    out: str
    err: str

    def refusal(self, code: int) -> str:
        """The one line in which it refused, with this exit code; packages' own warnings may stand before it."""
        assert self.code == code, self
        *before, line = self.err.splitlines()
        assert line.startswith("phonoscope: "), self.err
        assert not [other for other in before if other.startswith("phonoscope: ") or "Traceback" in other], self.err
        return line


def phonoscope(*arguments: str, quiet: bool = True) -> Seen:
    """Run `phonoscope` as from a shell in the current folder."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["phonoscope", *(["--quiet"] if quiet else []), *arguments]
    handlers, stop = logging.getLogger().handlers[:], signal.getsignal(signal.SIGTERM)
    level = logging.getLogger().level
    code = 0
    try:
        with (
            mock.patch.dict(os.environ),
            mock.patch.object(sys, "argv", argv),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            cli.main()
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        logging.getLogger().handlers[:] = handlers
        logging.getLogger().setLevel(level)
        signal.signal(signal.SIGTERM, stop)
    return Seen(code, out.getvalue(), err.getvalue())
