"""The tracking store: its address, its first creation, its failures, and writing to it."""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from filelock import BaseFileLock, FileLock

from phonoscope import paths
from phonoscope.config.tracking import TrackingConfig
from phonoscope.errors import EnvironmentFault
from phonoscope.tracking.provenance import git

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

logger = logging.getLogger(__name__)
T = TypeVar("T")

SQLITE = "sqlite:///"
LOCAL_HOST = "127.0.0.1"  # explicit, because MLFLOW_HOST changes MLflow's default
LOCK_TIMEOUT_S = 300  # creating the store takes seconds, minutes on a busy machine; a killed process frees its lock
BUSY_TIMEOUT_S = 5
MAX_KEY, MAX_PARAM = 250, 6000  # characters, MLflow's own limits
MAX_RUNS = 50_000  # MLflow's limit for one search
ENVIRONMENT = {  # MLflow's defaults wait for minutes on a dead server; what the user has set wins
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output belongs to `--json`
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # the guard reports a failure in one line
}


def main_checkout(root: Path) -> Path:
    """The checkout that holds the store: `dvc exp run --temp` and `--queue` run in a folder that is deleted.

    For a linked git worktree it is the main one, so that both appear in one UI.
    """
    path = root.resolve()
    dvc_root = Path(os.environ.get("DVC_ROOT") or path).resolve()
    if path.is_relative_to(dvc_root):
        path = dvc_root
    for folder in path.parents:
        if folder.parts[-3:] == (".dvc", "tmp", "exps"):
            path = folder.parents[2]
    if (path / ".git").is_file():
        common = Path(git(path, "rev-parse", "--path-format=absolute", "--git-common-dir"))
        if common.name == ".git":
            return common.parent
    return path


def tracking_uri(root: Path) -> str:
    """`MLFLOW_TRACKING_URI`, else `mlflow.db` in the main checkout; an SQLite path in it is made absolute there."""
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
    if uri.startswith(SQLITE):
        return f"{SQLITE}{main_checkout(root) / uri.removeprefix(SQLITE)}"
    return uri


def _is_server(uri: str) -> bool:
    return urlsplit(uri).scheme in ("http", "https")


def ui_command(root: Path) -> list[str]:
    """The command that serves the MLflow UI to this machine only, because the UI asks for no password.

    Raises `EnvironmentFault` for a remote server, which serves its UI itself.
    """
    uri = tracking_uri(root)
    if _is_server(uri):
        raise EnvironmentFault(f"MLFLOW_TRACKING_URI is the server {redacted(uri)}; open that address in a browser")
    server = [sys.executable, "-m", "mlflow", "ui", "--host", LOCAL_HOST, "--backend-store-uri", uri, "--workers", "1"]
    # the server would start eight more processes for jobs that tracking does not use
    return ["env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", "MLFLOW_DISABLE_TELEMETRY=true", *server]


def redacted(text: str) -> str:
    """The text without the user names and passwords of addresses in it."""
    return re.sub(r"//[^/@\s]+@", "//", text)


def _reason(error: BaseException) -> str:
    """The first line of the root cause, such as a refused connection; client libraries wrap it repeatedly."""
    while (cause := error.__cause__ or error.__context__) and not isinstance(cause, LookupError):
        error = cause
    return (str(error).strip() or type(error).__name__).splitlines()[0]


class Guard:
    """Keeps MLflow's failures away from the stage: reports the first in one line, then tries nothing more."""

    def __init__(self, config: TrackingConfig, root: Path) -> None:
        self._uri, self._required, self._enabled = tracking_uri(root), config.required, config.enabled
        self.failed = False

    def attempt(self, action: Callable[[], T], *, lenient: bool = False) -> T | None:
        """The result of `action`, or None if tracking is off or has failed.

        Raises `EnvironmentFault` on failure if tracking is required, unless `lenient`.
        """
        try:
            return action() if self._enabled and not self.failed else None
        except Exception as error:  # every back end raises its own errors
            self.failed = True
            fault = redacted(f"MLflow store {self._uri} cannot be used: {_reason(error)}; results are kept")
            remedy = "start or unlock it, or change MLFLOW_TRACKING_URI"
            if self._required and not lenient:
                raise EnvironmentFault(f"{fault}; {remedy}, or set tracking.required=false") from error
            logger.warning("%s; %s, then `phonoscope sync-mlflow` adds what is missing", fault, remedy)
            return None


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level with dotted keys that MLflow accepts."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        inner = flatten(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
        flat |= {re.sub(r"[^\w\-. /:]", "_", each)[:MAX_KEY]: found for each, found in inner.items()}
    return flat


def param_texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Nested parameters as MLflow's: dotted keys and short text."""
    texts = {k: v if isinstance(v, str) else json.dumps(v, default=str) for k, v in flatten(params).items()}
    return {key: text[:MAX_PARAM] for key, text in texts.items()}


@dataclass(frozen=True)
class Store:
    """An open tracking store and the experiment that runs go to."""

    client: MlflowClient
    experiment_id: str
    lock: BaseFileLock

    def log(
        self,
        run_id: str,
        *,
        metrics: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log mappings, which may be nested.

        A sequence of metric values is one value per RVQ layer or epoch, with the layer or epoch (from 1) as step.
        """
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        points = [
            Metric(key, float(value), now, step)
            for key, values in flatten(metrics or {}).items()
            for step, value in (enumerate(values, 1) if isinstance(values, Sequence) else [(0, values)])
        ]
        texts = [Param(key, text) for key, text in param_texts(params or {}).items()]
        self.client.log_batch(run_id, points, texts, [RunTag(key, text) for key, text in (tags or {}).items()])

    def create_run(self, name: str, tags: Mapping[str, str], start_s: float | None = None) -> str:
        """The id of a new run, which starts now unless `start_s` says when."""
        start_ms = None if start_s is None else int(start_s * 1000)
        return str(self.client.create_run(self.experiment_id, start_ms, dict(tags), name).info.run_id)

    def search(self, condition: str, *, deleted: bool = False) -> list[Run]:
        """All runs that fulfil a condition, newest first."""
        from mlflow.entities import ViewType

        view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
        return list(self.client.search_runs([self.experiment_id], condition, view, MAX_RUNS))


def open_store(root: Path, config: TrackingConfig) -> Store:
    """Open the store; create it and the experiment on first use. Raises the errors of the back end.

    Works under a file lock: processes that create an SQLite database at the same time make each other fail in MLflow.
    """
    uri, checkout = tracking_uri(root), main_checkout(root)
    database = Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None
    lock_file = Path(f"{database}.lock") if database else checkout / paths.STATE / "mlflow.lock"
    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock_file.open("a").close()  # if this is not permitted, filelock would wait as for another process
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    with (lock := FileLock(lock_file, timeout=LOCK_TIMEOUT_S)):
        if database:  # MLflow would retry a locked or read-only one for minutes
            with closing(sqlite3.connect(database, timeout=BUSY_TIMEOUT_S)) as connection:
                connection.execute("BEGIN IMMEDIATE")
        from mlflow import MlflowClient

        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        client = MlflowClient(uri, registry_uri=uri)
        if experiment := client.get_experiment_by_name(config.experiment):
            return Store(client, experiment.experiment_id, lock)
        location = None if _is_server(uri) else (checkout / "mlartifacts").as_uri()
        return Store(client, client.create_experiment(config.experiment, location), lock)
