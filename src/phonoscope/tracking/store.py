"""The tracking store: its address, its first creation, and writing to it in batches."""

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

from phonoscope import paths
from phonoscope.config.tracking import TrackingConfig
from phonoscope.errors import EnvironmentFault
from phonoscope.tracking.provenance import git

if TYPE_CHECKING:
    from filelock import BaseFileLock
    from mlflow import MlflowClient
    from mlflow.entities import Run

logger = logging.getLogger(__name__)
T = TypeVar("T")

PARENT_KEY = "phonoscope.parent_key"
SQLITE = "sqlite:///"
LOCAL_HOST = "127.0.0.1"  # explicit, because MLFLOW_HOST changes MLflow's default
LOCK_TIMEOUT_S = 300  # creating the store takes seconds, minutes on a busy machine; a killed process frees its lock
BUSY_TIMEOUT_S = 5
MAX_KEY, MAX_PARAM, MAX_TAG = 250, 6000, 8000  # characters, MLflow's own limits
BATCH = 100  # MLflow's limit for parameters and tags in one call; metrics may be 1000
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


def ui_command(root: Path) -> list[str]:
    """The command that serves the MLflow UI to this machine only, because the UI asks for no password.

    Raises `EnvironmentFault` for a remote server, which serves its UI itself.
    """
    uri = tracking_uri(root)
    if urlsplit(uri).scheme in ("http", "https"):
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
        self._uri = tracking_uri(root)
        self._required = config.required
        self._usable = config.enabled

    def attempt(self, action: Callable[[], T], *, lenient: bool = False) -> T | None:
        """The result of `action`, or None if tracking is off or has failed.

        Raises `EnvironmentFault` on failure if tracking is required, unless `lenient`.
        """
        if not self._usable:
            return None
        try:
            return action()
        except Exception as error:  # every back end raises its own errors
            self._usable = False
            message = redacted(f"MLflow store {self._uri} cannot be used: {_reason(error)}")
            if self._required and not lenient:
                raise EnvironmentFault(
                    f"{message}; results are kept; start or unlock it, change MLFLOW_TRACKING_URI, "
                    "or set tracking.required=false"
                ) from error
            logger.warning(
                "%s; going on untracked, results are kept; start or unlock it or change MLFLOW_TRACKING_URI, "
                "then `phonoscope sync-mlflow` adds this run",
                message,
            )
            return None


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one level with dotted keys that MLflow accepts."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{key}.")
        else:
            flat[re.sub(r"[^\w\-. /:]", "_", key)[:MAX_KEY]] = value
    return flat


def param_texts(params: Mapping[str, Any]) -> dict[str, str]:
    """Nested parameters as MLflow's: dotted keys and short text."""
    texts = {k: v if isinstance(v, str) else json.dumps(v, default=str) for k, v in flatten(params).items()}
    return {key: text if len(text) <= MAX_PARAM else f"{text[: MAX_PARAM - 1]}…" for key, text in texts.items()}


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
        """Log in batches; mappings may be nested.

        A sequence of metric values is one value per RVQ layer or epoch, with the layer or epoch (from 1) as step.
        """
        from mlflow.entities import Metric, Param, RunTag

        now = int(time.time() * 1000)
        points = [
            Metric(key, float(value), now, step)
            for key, values in flatten(metrics or {}).items()
            for step, value in (enumerate(values, 1) if isinstance(values, Sequence) else [(0, values)])
        ]
        batches: dict[str, list[Any]] = {
            "metrics": points,
            "params": [Param(key, text) for key, text in param_texts(params or {}).items()],
            "tags": [RunTag(key, text[:MAX_TAG]) for key, text in (tags or {}).items()],
        }
        for kind, items in batches.items():
            for start in range(0, len(items), BATCH):
                batch: dict[str, Any] = {kind: items[start : start + BATCH]}
                self.client.log_batch(run_id, **batch)

    def create_run(self, name: str, tags: Mapping[str, str], *, start_s: float | None = None) -> Run:
        start_ms = int((time.time() if start_s is None else start_s) * 1000)
        return self.client.create_run(self.experiment_id, start_ms, dict(tags), name)

    def search(self, condition: str, *, deleted: bool = False) -> list[Run]:
        """All runs that fulfil a condition, newest first."""
        from mlflow.entities import ViewType

        view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
        newest = ["attributes.start_time DESC"]
        return list(self.client.search_runs([self.experiment_id], condition, view, MAX_RUNS, order_by=newest))


def _require_writable(database: Path) -> None:
    """Raise `sqlite3.Error` or `OSError` for a locked or read-only database, which MLflow retries for minutes."""
    database.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database, timeout=BUSY_TIMEOUT_S)) as connection:
        connection.execute("BEGIN IMMEDIATE")


def open_store(root: Path, config: TrackingConfig) -> Store:
    """Open the store; create it and the experiment on first use. Raises the errors of the back end.

    Works under a file lock: processes that create an SQLite database at the same time make each other fail in MLflow.
    """
    from filelock import FileLock

    uri, checkout = tracking_uri(root), main_checkout(root)
    database = Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None
    lock = FileLock(f"{database}.lock" if database else checkout / paths.STATE / "mlflow.lock", timeout=LOCK_TIMEOUT_S)
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    with Path(lock.lock_file).open("a"):  # if this is not permitted, filelock would wait as for another process
        pass
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with lock:
        if database:
            _require_writable(database)
        from mlflow import MlflowClient

        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        client = MlflowClient(uri, registry_uri=uri)
        if experiment := client.get_experiment_by_name(config.experiment):
            return Store(client, experiment.experiment_id, lock)
        remote = urlsplit(uri).scheme in ("http", "https")
        location = None if remote else (checkout / "mlartifacts").as_uri()
        return Store(client, client.create_experiment(config.experiment, location), lock)
