"""One MLflow run a stage, under the parent run of its repro."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

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
CLOCK_TOLERANCE_S = 5.0  # a process's start is told against the boot time, which moves as the clock is set
ENDED_BADLY = ("FAILED", "KILLED")


class Report(Protocol):
    """What a stage hands over; `phonoscope.pipeline.base.StageReport` is one."""

    @property
    def metrics(self) -> Mapping[str, float]: ...
    @property
    def by_layer(self) -> Mapping[str, Sequence[float]]: ...
    @property
    def by_epoch(self) -> Mapping[str, Sequence[float]]: ...
    @property
    def figures(self) -> Sequence[Path]: ...


@dataclass(frozen=True)
class _Runs:
    store: Store
    parent_id: str
    child_id: str


class Recorder:
    """Takes a stage's results to its MLflow run; does nothing while tracking is off or has failed."""

    def __init__(self, guard: Guard, root: Path, runs: _Runs | None) -> None:
        self._guard = guard
        self._runs = runs
        self.root = root

    @property
    def run_id(self) -> str:
        """The stage's MLflow run, empty if untracked."""
        return self._runs.child_id if self._runs else ""

    def log(self, report: Report) -> None:
        """Log metrics, per-layer and per-epoch metrics (step = RVQ layer or epoch, from 1) and figures.

        Raises `EnvironmentFault` if the store fails and tracking is required.
        """
        self.attempt(lambda runs: _log_report(runs, report))

    def attempt(self, action: Callable[[_Runs], None], *, lenient: bool = False) -> None:
        """Act on the runs, if there are any, under the guard."""
        if self._runs:
            self._guard.attempt(partial(action, self._runs), lenient=lenient)


@contextmanager
def stage_run(
    stage: str, params: Mapping[str, Any], config: TrackingConfig, *, root: Path = Path()
) -> Iterator[Recorder]:
    """Track one stage: yield a recorder for its report, mark the run FAILED and re-raise if the stage raises.

    `params` are the stage's own, nested as in params.yaml. A store that cannot be used costs one warning line; if
    tracking is required it raises `EnvironmentFault`, before the stage's work where the store is already down then.
    """
    guard = Guard(config, root)
    recorder = Recorder(guard, root, guard.attempt(lambda: _open(stage, params, config, root)))
    meter = Meter()
    try:
        yield recorder
    except BaseException as error:
        _end(recorder, stage, root, meter, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    _end(recorder, stage, root, meter, "FINISHED")


def finish_parent(recorder: Recorder, summary: Mapping[str, Any]) -> None:
    """Log the headline metrics, and all of params.yaml, on the parent run: one row of the UI per repro.

    To be called inside `stage_run` by the stage that writes metrics/summary.json, with what it has written.
    """
    workspace = workspace_results(recorder.root)
    results = Results(workspace.params if workspace else {}, summary)
    recorder.attempt(lambda runs: _finish(runs, recorder.root, results))


def _end(recorder: Recorder, stage: str, root: Path, meter: Meter, status: str) -> None:
    cost = meter.read()
    row = {"stage": stage, "started": meter.started.isoformat(), "status": status, "run_id": recorder.run_id}
    try:
        write_records(main_checkout(root), row | cost | experiment_tags())
    except OSError as error:
        logger.warning("%s cannot be written (%s); results are kept, the stage's cost is not", paths.STATE, error)
    recorder.attempt(lambda runs: _close(runs, status, cost), lenient=status in ENDED_BADLY)


def checkout_name(root: Path) -> str:
    """Machine and folder of the main checkout: tells apart the checkouts that share one server."""
    return f"{platform.node()}:{main_checkout(root)}"


def parent_tags(root: Path) -> dict[str, str]:
    """Tags that every parent run carries."""
    return {KIND: "repro", CHECKOUT: checkout_name(root), **commit_tags(root), **experiment_tags()}


def parent_name(tags: Mapping[str, str]) -> str:
    return tags.get(EXP_NAME) or f"repro-{tags.get(COMMIT, '')[:7] or 'uncommitted'}"


def _new_parent(store: Store, root: Path) -> Run:
    repro = current_repro()
    tags = parent_tags(root) | {
        PARENT_KEY: repro.key,
        STARTED: str(repro.started_s),
        BY_DVC: str(repro.by_dvc).lower(),
    }
    run = store.create_run(parent_name(tags), tags)
    store.client.log_dict(run.info.run_id, environment(), "environment.json")
    return run


def _find_parent(store: Store) -> Run | None:
    repro = current_repro()
    same_key = store.search(f"tags.`{PARENT_KEY}` = '{repro.key}'")
    return next(
        (r for r in same_key if abs(float(r.data.tags[STARTED]) - repro.started_s) < CLOCK_TOLERANCE_S),
        None,
    )


def _open(stage: str, params: Mapping[str, Any], config: TrackingConfig, root: Path) -> _Runs:
    store = open_store(root, config)
    with store.lock:
        parent = _find_parent(store) or _new_parent(store, root)
    parent_id = parent.info.run_id
    if parent.info.status not in ENDED_BADLY:
        store.client.update_run(parent_id, "RUNNING")
    tags = {
        KIND: "stage",
        "dvc.stage": stage,
        "mlflow.parentRunId": parent_id,
        **commit_tags(root),
        **experiment_tags(),
    }
    child_id = store.create_run(stage, tags).info.run_id
    packages = {f"package.{name}": version for name, version in package_versions().items()}
    store.log(child_id, params=params, tags=packages)
    return _Runs(store, parent_id, child_id)


def _log_report(runs: _Runs, report: Report) -> None:
    runs.store.log(runs.child_id, metrics={**report.metrics, **report.by_layer, **report.by_epoch})
    for figure in report.figures:
        runs.store.client.log_artifact(runs.child_id, str(figure), "figures")


def _close(runs: _Runs, status: str, cost: Mapping[str, float]) -> None:
    client = runs.store.client
    runs.store.log(runs.child_id, metrics={"stage": cost}, tags=machine_tags())  # now that its libraries are loaded
    client.set_terminated(runs.child_id, status)
    if status in ENDED_BADLY or client.get_run(runs.parent_id).info.status not in ENDED_BADLY:
        client.set_terminated(runs.parent_id, status)


def log_headline(store: Store, run_id: str, results: Results) -> None:
    """Give a parent run its parameters, headline metrics and identity."""
    store.log(run_id, params=results.params, metrics=results.summary, tags={FINGERPRINT: results.fingerprint})


def _finish(runs: _Runs, root: Path, results: Results) -> None:
    client, parent_id = runs.store.client, runs.parent_id
    logged = client.get_run(parent_id).data.params
    texts = param_texts(results.params)
    if any(logged.get(key, text) != text for key, text in texts.items()):
        # an experiment run again under its name: MLflow never changes a parameter, so it gets a row of its own
        parent_id = _new_parent(runs.store, root).info.run_id
    log_headline(runs.store, parent_id, results)
    client.set_terminated(parent_id, "FINISHED")
