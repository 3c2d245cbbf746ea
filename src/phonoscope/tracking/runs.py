"""One MLflow run a stage, under the parent run of its repro."""

import logging
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from phonoscope import paths
from phonoscope.config.tracking import TrackingConfig
from phonoscope.tracking import provenance
from phonoscope.tracking.machine import environment, package_versions, peak_memory_mb, write_records
from phonoscope.tracking.provenance import Results, commit_tags, current_repro, experiment_tags
from phonoscope.tracking.store import Guard, Store, flatten, main_checkout, open_store, param_texts

logger = logging.getLogger(__name__)

KIND = "phonoscope.kind"
PARENT_KEY = "phonoscope.parent_key"
CHECKOUT = "phonoscope.checkout"
BY_DVC = "phonoscope.by_dvc"
FINGERPRINT = "phonoscope.fingerprint"
UNSUCCESSFUL = ("FAILED", "KILLED")


class Recorder:
    """Logs a stage's results to its MLflow run; does nothing while tracking is off or has failed.

    Its methods raise `EnvironmentFault` if the store fails and tracking is required.
    """

    def __init__(self, stage: str, params: Mapping[str, Any], config: TrackingConfig, root: Path) -> None:
        self.run_id = ""
        """The stage's MLflow run, empty if untracked."""
        self._stage, self._root, self._guard = stage, root, Guard(config, root)
        self._store: Store
        self._parent_id: str
        self._guard.attempt(lambda: self._open(params, config))
        self._started, self._clock = datetime.now(UTC), time.perf_counter()

    def _open(self, params: Mapping[str, Any], config: TrackingConfig) -> None:
        self._store = store = open_store(self._root, config)
        with store.lock:
            running = store.search(f"tags.`{PARENT_KEY}` = '{current_repro().key}'")
            parent = running[0] if running else store.client.get_run(self._new_parent())
        self._parent_id = parent.info.run_id
        if parent.info.status not in UNSUCCESSFUL:
            store.client.update_run(self._parent_id, "RUNNING")
        tags = {KIND: "stage", "dvc.stage": self._stage, "mlflow.parentRunId": self._parent_id}
        run_id = store.create_run(self._stage, tags | commit_tags(self._root) | experiment_tags())
        store.log(run_id, params=params, tags={f"package.{name}": each for name, each in package_versions().items()})
        self.run_id = run_id

    def _new_parent(self) -> str:
        repro = current_repro()
        tags = parent_tags(self._root) | {PARENT_KEY: repro.key, BY_DVC: str(repro.by_dvc).lower()}
        run_id = self._store.create_run(parent_name(tags), tags)
        self._store.client.log_dict(run_id, environment(), "environment.json")
        return run_id

    def log(self, metrics: Mapping[str, float | Sequence[float]], figures: Sequence[Path] = ()) -> None:
        """Log metrics and image files; a sequence has one value per RVQ layer or epoch, which is the step, from 1."""

        def log() -> None:
            self._store.log(self.run_id, metrics=metrics)
            for figure in figures:
                self._store.client.log_artifact(self.run_id, str(figure), "figures")

        self._guard.attempt(log)

    def tag_not_applicable(self, reasons: Mapping[str, str]) -> None:
        """Tag the stage's run with the stages that the corpus cannot feed: `not_applicable.<stage>`, the reason."""
        self._guard.attempt(lambda: self._store.log(self.run_id, tags=not_applicable_tags(reasons)))

    def finish_parent(self, summary: Mapping[str, Any], not_applicable: Mapping[str, str] = {}) -> None:
        """Log the headline metrics, and all of params.yaml, on the parent run: one row of the UI per repro.

        For the stage that writes metrics/summary.json, with the content of that file and, by stage, the reasons why
        its metrics are not there.
        """
        self._guard.attempt(lambda: self._finish_parent(summary, not_applicable))

    def _finish_parent(self, summary: Mapping[str, Any], not_applicable: Mapping[str, str]) -> None:
        file, parent_id = self._root / paths.PARAMS, self._parent_id
        results = Results(provenance.read_yaml(file.read_text(encoding="utf-8")) if file.is_file() else {}, summary)
        logged = self._store.client.get_run(parent_id).data.params
        if any(logged.get(key, text) != text for key, text in param_texts(results.params).items()):
            # an experiment run again under its name: MLflow never changes a parameter, so it gets its own row
            parent_id = self._new_parent()
        log_headline(self._store, parent_id, results)
        self._store.log(parent_id, tags=not_applicable_tags(not_applicable))
        self._store.client.set_terminated(parent_id, "FINISHED")

    def end(self, status: str) -> None:
        """Record status and cost, also in `.phonoscope`."""
        cost = {"wall_s": time.perf_counter() - self._clock, "peak_memory_mb": peak_memory_mb()}
        row = {"stage": self._stage, "started": self._started.isoformat(), "status": status, "run_id": self.run_id}
        try:
            write_records(main_checkout(self._root), row | cost | experiment_tags())
        except OSError as error:
            logger.warning("%s cannot be written (%s); results are kept, the stage's cost is not", paths.STATE, error)
        self._guard.attempt(lambda: self._close(status, cost), lenient=status in UNSUCCESSFUL)

    def _close(self, status: str, cost: Mapping[str, float]) -> None:
        client, machine = self._store.client, environment()  # its libraries are loaded now
        tags = {f"machine.{key}": str(value) for key, value in machine.items() if key != "packages"}
        self._store.log(self.run_id, metrics={"stage": cost}, tags=tags)
        client.set_terminated(self.run_id, status)
        if status in UNSUCCESSFUL or client.get_run(self._parent_id).info.status not in UNSUCCESSFUL:
            client.set_terminated(self._parent_id, status)


@contextmanager
def stage_run(
    stage: str, params: Mapping[str, Any], config: TrackingConfig, *, root: Path = Path()
) -> Iterator[Recorder]:
    """Track one stage: yield a recorder for its results, mark the run FAILED and re-raise if the stage raises.

    `params` are the stage's parameters, nested as in params.yaml. A store that fails costs one warning line; if
    tracking is required it raises `EnvironmentFault`, before the stage's work where the store is already down then.
    """
    recorder, status = Recorder(stage, params, config, root), "FINISHED"
    try:
        yield recorder
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        raise
    finally:
        recorder.end(status)


def parent_tags(root: Path) -> dict[str, str]:
    """Tags of every parent run."""
    return {KIND: "repro", CHECKOUT: checkout_name(root), **commit_tags(root), **experiment_tags()}


def checkout_name(root: Path) -> str:
    """Machine and folder of the main checkout; distinguishes the checkouts that share one server."""
    return f"{platform.node()}:{main_checkout(root)}"


def parent_name(tags: Mapping[str, str]) -> str:
    return tags.get(provenance.EXP_NAME) or f"repro-{tags.get(provenance.COMMIT, '')[:7] or 'uncommitted'}"


def not_applicable_tags(reasons: Mapping[str, str]) -> dict[str, str]:
    """MLflow tags of the stages that stepped aside: `not_applicable.<stage>`, where MLflow takes no `@`."""
    return flatten({"not_applicable": reasons})


def log_headline(store: Store, run_id: str, results: Results) -> None:
    """Log the parameters, headline metrics and identity of a parent run."""
    tags = {FINGERPRINT: results.fingerprint, "phonoscope.partial": str(results.partial).lower()}
    store.log(run_id, params=results.params, metrics=results.summary, tags=tags)
