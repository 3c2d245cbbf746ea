"""The tracking store: its address, its first creation, and writing to it in batches."""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
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
LOCAL_HOST = "127.0.0.1"  # said to MLflow, whose own default MLFLOW_HOST changes
LOCK_TIMEOUT_S = 300  # creating the store takes seconds, on a machine full of work minutes; a dead holder holds nothing
BUSY_TIMEOUT_S = 5
MAX_KEY, MAX_PARAM, MAX_TAG = 250, 6000, 8000  # characters, MLflow's own limits
BATCH = 100  # the smallest of MLflow's limits on one batch: parameters and tags
ENVIRONMENT = {  # MLflow's defaults wait for minutes on a dead server; what the user has set wins
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output belongs to `--json`
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",  # the guard tells what fails, in one line
}


def main_checkout(root: Path) -> Path:
    """The checkout whose store is used: `dvc exp run --temp` and `--queue` run in a folder that is deleted.

    A linked git worktree resolves to the main one, so that both show in one UI.
    """
    path = root.resolve()
    named = Path(os.environ.get("DVC_ROOT") or path).resolve()
    if path.is_relative_to(named):
        path = named
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
    """The command that serves the MLflow UI on this machine alone: it asks for no password.

    Raises `EnvironmentFault` for a remote server, which has its own.
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
    """The first line of the fault at the bottom, such as a refused connection; client libraries wrap it repeatedly."""
    bottom, following = error, error.__cause__ or error.__context__
    while following and not isinstance(following, LookupError):
        bottom, following = following, following.__cause__ or following.__context__
    return (str(bottom).strip() or type(bottom).__name__).splitlines()[0]


class Guard:
    """Keeps MLflow's troubles from the stage: the first one is told in one line, then no more is tried."""

    def __init__(self, config: TrackingConfig, root: Path) -> None:
        self._uri = tracking_uri(root)
        self._required = config.required
        self._usable = config.enabled

    def attempt(self, action: Callable[[], T], *, lenient: bool = False) -> T | None:
        """The action's value, or None if tracking is off or has failed.

        Raises `EnvironmentFault` on failure if tracking is required, unless `lenient`.
        """
        if not self._usable:
            return None
        try:
            return action()
        except Exception as error:  # a store fails in as many ways as it has back ends
            self._usable = False
            reason = _reason(error)
            message = redacted(f"MLflow store {self._uri} cannot be used: {reason}")
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


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


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
        named = [Param(key, text) for key, text in param_texts(params or {}).items()]
        marks = [RunTag(key, text[:MAX_TAG]) for key, text in (tags or {}).items()]
        for some_metrics in _chunks(points):
            self.client.log_batch(run_id, metrics=some_metrics)
        for some_params in _chunks(named):
            self.client.log_batch(run_id, params=some_params)
        for some_tags in _chunks(marks):
            self.client.log_batch(run_id, tags=some_tags)

    def create_run(self, name: str, tags: Mapping[str, str], *, start_s: float | None = None) -> Run:
        start_ms = int((time.time() if start_s is None else start_s) * 1000)
        return self.client.create_run(self.experiment_id, start_ms, dict(tags), name)

    def search(self, condition: str, *, deleted: bool = False) -> list[Run]:
        """All runs that meet a condition, newest first."""
        from mlflow.entities import ViewType

        view = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY
        search = partial(
            self.client.search_runs, [self.experiment_id], condition, view, order_by=["attributes.start_time DESC"]
        )
        page = search()
        found = list(page)
        while page.token:
            page = search(page_token=page.token)
            found += page
        return found


def _require_writable(database: Path) -> None:
    """Raise `sqlite3.Error` or `OSError` at once for a database that is locked or cannot be written.

    MLflow would retry for minutes to open it.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(database, timeout=BUSY_TIMEOUT_S)) as connection:
        connection.execute("BEGIN IMMEDIATE")


def open_store(root: Path, config: TrackingConfig) -> Store:
    """Open the store, creating it and the experiment on first use. Raises whatever the back end raises.

    Four processes that meet a fresh SQLite database make each other fail in MLflow, so this is done under a file lock.
    """
    from filelock import FileLock

    uri, checkout = tracking_uri(root), main_checkout(root)
    database = Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None
    lock = FileLock(f"{database}.lock" if database else checkout / paths.STATE / "mlflow.lock", timeout=LOCK_TIMEOUT_S)
    Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
    with Path(lock.lock_file).open("a"):  # where this is not permitted, filelock would wait as for another process
        pass
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    with lock:
        if database:
            _require_writable(database)
        from mlflow import MlflowClient

        logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
        client = MlflowClient(uri, registry_uri=uri)
        experiment = client.get_experiment_by_name(config.experiment)
        if experiment:
            return Store(client, experiment.experiment_id, lock)
        remote = urlsplit(uri).scheme in ("http", "https")
        location = None if remote else (checkout / "mlartifacts").as_uri()
        return Store(client, client.create_experiment(config.experiment, location), lock)
