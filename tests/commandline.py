"""The real command line in this process: exit code, output, and what it leaves behind put back."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import NamedTuple
from unittest import mock

from phonoscope import cli


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
