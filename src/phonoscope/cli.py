"""The command line: one command for every registered stage, and the commands of `commands`."""

import errno
import logging
import os
import signal
import sys
from typing import Annotated

import typer

from phonoscope import paths
from phonoscope.commands.app import ParamsFile
from phonoscope.commands.app import app as commands_app
from phonoscope.errors import EnvironmentFault, PhonoscopeError
from phonoscope.pipeline.base import Stage, stages
from phonoscope.pipeline.runner import run_stage

app = typer.Typer(
    help="Look inside speech representations.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_FULL = "; free some disk space, `phonoscope doctor` says how much is needed"
_CLOSED = "; make it writable, or change its owner"
FIXES = {errno.ENOSPC: _FULL, errno.EDQUOT: _FULL, errno.EACCES: _CLOSED, errno.EPERM: _CLOSED, errno.EROFS: _CLOSED}


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only warnings.")] = False,
) -> None:
    os.environ["PHONOSCOPE_DEBUG"] = "1" if debug else ""
    logging.basicConfig(
        level=logging.WARNING if quiet else logging.INFO, format="%(message)s", stream=sys.stderr, force=True
    )
    for noisy in ("alembic", "mlflow", "matplotlib", "numba", "httpx", "fontTools"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _add_stage(stage: Stage) -> None:
    """Add the command of one stage."""

    def single(params: ParamsFile = paths.PARAMS) -> None:
        run_stage(stage.name, params)

    entry = f"An entry of {stage.per} in params.yaml." if isinstance(stage.per, str) else None
    argument = typer.Argument(help=entry or f"{' or '.join(stage.per or ())}.")

    def per_item(item: str = argument, params: ParamsFile = paths.PARAMS) -> None:
        run_stage(stage.name, params, item)

    app.command(stage.name, help=f"Stage: {stage.desc}.")(per_item if stage.per else single)


for declared in stages().values():
    _add_stage(declared)
app.add_typer(commands_app)


def _stop(signum: int, frame: object) -> None:
    """Exit with an exception: temporary files are removed, and the run is marked KILLED."""
    sys.exit(128 + signum)


def main() -> None:
    """Run the command line. An error is one line and has its own exit code; `--debug` shows the traceback."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        app(standalone_mode=True)
    except (PhonoscopeError, OSError, ModuleNotFoundError) as error:
        if os.environ.get("PHONOSCOPE_DEBUG"):
            raise
        fix = FIXES.get(error.errno or 0, "") if isinstance(error, OSError) else ""
        if isinstance(error, ModuleNotFoundError):
            fix = "; `make setup` installs what requirements.lock lists"
        sys.stderr.write(f"phonoscope: {' '.join(str(error).split())}{fix}\n")
        sys.exit(error.exit_code if isinstance(error, PhonoscopeError) else EnvironmentFault.exit_code)
