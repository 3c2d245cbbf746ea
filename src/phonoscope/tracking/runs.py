"""One MLflow run a stage, under the parent run of its repro."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonoscope import paths
from phonoscope.config.tracking import TrackingConfig
from phonoscope.tracking.machine import Meter, environment, machine_tags, package_versions, write_records
from phonoscope.tracking.provenance import (
    COMMIT,
    EXP_NAME,
    Results,
    commit_tags,
    current_repro,
    experiment_tags,
    workspace_results,
)
from phonoscope.tracking.store import PARENT_KEY, Guard, Store, main_checkout, open_store, param_texts

if TYPE_CHECKING:
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

KIND = "phonoscope.kind"
CHECKOUT = "phonoscope.checkout"
STARTED = "phonoscope.process_started_s"
BY_DVC = "phonoscope.by_dvc"
FINGERPRINT = "phonoscope.fingerprint"
PARTIAL = "phonoscope.partial"
CLOCK_TOLERANCE_S = 5.0  # a process's start is counted from the boot time, which moves when the clock is set
UNSUCCESSFUL = ("FAILED", "KILLED")


class Recorder:
    """Logs a stage's results to its MLflow run; does nothing while tracking is off or has failed."""

    def __init__(self, stage: str, params: Mapping[str, Any], config: TrackingConfig, root: Path) -> None:
        self._guard, self._root = Guard(config, root), root
        self._runs = self._guard.attempt(lambda: _open(stage, params, config, root))

    @property
    def run_id(self) -> str:
        """The stage's MLflow run, empty if untracked."""
        return self._runs.child_id if self._runs else ""

    def log(self, metrics: Mapping[str, float | Sequence[float]], figures: Sequence[Path] = ()) -> None:
        """Log metrics and image files; a sequence has one value per RVQ layer or epoch, which is the step, from 1.

        Raises `EnvironmentFault` if the store fails and tracking is required.
        """
        self._attempt(lambda runs: runs.log(metrics, figures))

    def finish_parent(self, summary: Mapping[str, Any]) -> None:
        """Log the headline metrics, and all of params.yaml, on the parent run: one row of the UI per repro.

        For the stage that writes metrics/summary.json, with the content of that file.
        """
        workspace = workspace_results(self._root)
        results = Results(workspace.params if workspace else {}, summary)
        self._attempt(lambda runs: runs.finish_parent(results, self._root))

    def end(self, stage: str, status: str, meter: Meter) -> None:
        """Record status and cost, also in `.phonoscope`."""
        cost = meter.read()
        row = {"stage": stage, "started": meter.started.isoformat(), "status": status, "run_id": self.run_id}
        try:
            write_records(main_checkout(self._root), row | cost | experiment_tags())
        except OSError as error:
            logger.warning("%s cannot be written (%s); results are kept, the stage's cost is not", paths.STATE, error)
        self._attempt(lambda runs: runs.close(status, cost), lenient=status in UNSUCCESSFUL)

    def _attempt(self, action: Callable[[_Runs], None], *, lenient: bool = False) -> None:
        if self._runs:
            self._guard.attempt(partial(action, self._runs), lenient=lenient)


@contextmanager
def stage_run(
    stage: str, params: Mapping[str, Any], config: TrackingConfig, *, root: Path = Path()
) -> Iterator[Recorder]:
    """Track one stage: yield a recorder for its results, mark the run FAILED and re-raise if the stage raises.

    `params` are the stage's parameters, nested as in params.yaml. A store that fails costs one warning line; if
    tracking is required it raises `EnvironmentFault`, before the stage's work where the store is already down then.
    """
    recorder, meter, status = Recorder(stage, params, config, root), Meter(), "FINISHED"
    try:
        yield recorder
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        raise
    finally:
        recorder.end(stage, status, meter)


@dataclass(frozen=True)
class _Runs:
    """The open run of a stage, and its parent."""

    store: Store
    parent_id: str
    child_id: str

    def log(self, metrics: Mapping[str, float | Sequence[float]], figures: Sequence[Path]) -> None:
        self.store.log(self.child_id, metrics=metrics)
        for figure in figures:
            self.store.client.log_artifact(self.child_id, str(figure), "figures")

    def finish_parent(self, results: Results, root: Path) -> None:
        parent_id = self.parent_id
        logged = self.store.client.get_run(parent_id).data.params
        if any(logged.get(key, text) != text for key, text in param_texts(results.params).items()):
            # an experiment run again under its name: MLflow never changes a parameter, so it gets its own row
            parent_id = _new_parent(self.store, root).info.run_id
        log_headline(self.store, parent_id, results)
        self.store.client.set_terminated(parent_id, "FINISHED")

    def close(self, status: str, cost: Mapping[str, float]) -> None:
        client = self.store.client
        self.store.log(self.child_id, metrics={"stage": cost}, tags=machine_tags())  # its libraries are loaded now
        client.set_terminated(self.child_id, status)
        if status in UNSUCCESSFUL or client.get_run(self.parent_id).info.status not in UNSUCCESSFUL:
            client.set_terminated(self.parent_id, status)


def _open(stage: str, params: Mapping[str, Any], config: TrackingConfig, root: Path) -> _Runs:
    store = open_store(root, config)
    with store.lock:
        parent = _find_parent(store) or _new_parent(store, root)
    parent_id = parent.info.run_id
    if parent.info.status not in UNSUCCESSFUL:
        store.client.update_run(parent_id, "RUNNING")
    tags = {KIND: "stage", "dvc.stage": stage, "mlflow.parentRunId": parent_id}
    child_id = store.create_run(stage, tags | commit_tags(root) | experiment_tags()).info.run_id
    packages = {f"package.{name}": version for name, version in package_versions().items()}
    store.log(child_id, params=params, tags=packages)
    return _Runs(store, parent_id, child_id)


def _find_parent(store: Store) -> Run | None:
    repro = current_repro()
    for run in store.search(f"tags.`{PARENT_KEY}` = '{repro.key}'"):
        if abs(float(run.data.tags[STARTED]) - repro.started_s) < CLOCK_TOLERANCE_S:
            return run
    return None


def _new_parent(store: Store, root: Path) -> Run:
    repro = current_repro()
    of_repro = {PARENT_KEY: repro.key, STARTED: str(repro.started_s), BY_DVC: str(repro.by_dvc).lower()}
    tags = parent_tags(root) | of_repro
    run = store.create_run(parent_name(tags), tags)
    store.client.log_dict(run.info.run_id, environment(), "environment.json")
    return run


def checkout_name(root: Path) -> str:
    """Machine and folder of the main checkout; distinguishes the checkouts that share one server."""
    return f"{platform.node()}:{main_checkout(root)}"


def parent_tags(root: Path) -> dict[str, str]:
    """Tags of every parent run."""
    return {KIND: "repro", CHECKOUT: checkout_name(root), **commit_tags(root), **experiment_tags()}


def parent_name(tags: Mapping[str, str]) -> str:
    return tags.get(EXP_NAME) or f"repro-{tags.get(COMMIT, '')[:7] or 'uncommitted'}"


def log_headline(store: Store, run_id: str, results: Results) -> None:
    """Log the parameters, headline metrics and identity of a parent run."""
    tags = {FINGERPRINT: results.fingerprint, PARTIAL: str(results.partial).lower()}
    store.log(run_id, params=results.params, metrics=results.summary, tags=tags)
