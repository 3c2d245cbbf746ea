"""The record of one run of a stage: what MLflow shall know of it, and what it cost."""

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
from phonoscope.tracking.provenance import commit_tags, current_repro, experiment_tags
from phonoscope.tracking.records import KIND, UNSUCCESSFUL, Record, save, write_pending, writing
from phonoscope.tracking.store import Guard, flatten, main_checkout, open_store
from phonoscope.tracking.writer import start_writer

logger = logging.getLogger(__name__)

CHECKOUT = "phonoscope.checkout"
BY_DVC = "phonoscope.by_dvc"


class Recorder:
    """Collects a stage's results for its MLflow run.

    At the end they are kept in `.phonoscope/runs/`, from where another process writes them to MLflow; if tracking is
    required, this one does. Raises `EnvironmentFault` if tracking is required and the store cannot be used.
    """

    def __init__(self, stage: str, params: Mapping[str, Any], config: TrackingConfig, root: Path) -> None:
        self._config, self._root, self._guard = config, root, Guard(config, root)
        self._repro = repro = current_repro()
        self._guard.attempt(self._ready)
        parent = parent_tags(root) | {BY_DVC: str(repro.by_dvc).lower()}
        tags = commit_tags(root) | experiment_tags() | {f"package.{k}": each for k, each in package_versions().items()}
        self._record = Record(stage, config.experiment, repro.key, parent, tags, dict(params), _now_ms())
        self._figures: list[Path] = []
        self._started, self._clock = datetime.now(UTC), time.perf_counter()

    def _ready(self) -> None:
        if self._config.required:
            open_store(self._root, self._config)
        else:
            start_writer(self._root, self._repro.starter)

    def log(self, metrics: Mapping[str, float | Sequence[float]], figures: Sequence[Path] = ()) -> None:
        """Add metrics and image files; a sequence has one value per RVQ layer or epoch, which is the step, from 1."""
        self._record.metrics |= metrics
        self._figures += figures

    def tag_not_applicable(self, reasons: Mapping[str, str]) -> None:
        """Tag the stage's run with the stages that the corpus cannot feed: `not_applicable.<stage>`, the reason."""
        self._record.tags |= _not_applicable_tags(reasons)

    def finish_parent(self, summary: Mapping[str, Any], not_applicable: Mapping[str, str] = {}) -> None:
        """Give the parent run the headline metrics, and all of params.yaml: one row of the UI per repro.

        For the stage that writes metrics/summary.json, with the content of that file and, by stage, the reasons why
        its metrics are not there.
        """
        file = self._root / paths.PARAMS
        params = provenance.read_yaml(file.read_text(encoding="utf-8")) if file.is_file() else {}
        self._record.headline = {"params": params, "summary": dict(summary)}
        self._record.headline_tags = _not_applicable_tags(not_applicable)

    def end(self, status: str) -> None:
        """Record status and cost, also in `.phonoscope/timings.jsonl`."""
        cost = {"wall_s": time.perf_counter() - self._clock, "peak_memory_mb": peak_memory_mb()}
        record = self._record
        record.status, record.ended_ms, record.environment = status, _now_ms(), environment()
        record.tags |= {f"machine.{k}": str(value) for k, value in record.environment.items() if k != "packages"}
        record.metrics["stage"] = cost
        name = self._guard.attempt(self._deliver, lenient=status in UNSUCCESSFUL) or ""
        row = {"stage": record.stage, "started": self._started.isoformat(), "status": status, "record": name}
        try:
            write_records(main_checkout(self._root), row | cost | experiment_tags())
        except OSError as error:
            logger.warning("%s cannot be written (%s); results are kept, the stage's cost is not", paths.STATE, error)

    def _deliver(self) -> str:
        name = save(self._root, self._record, [figure for figure in self._figures if figure.is_file()])
        if self._config.required:
            with writing(self._root):
                write_pending(self._root)
        else:
            start_writer(self._root, self._repro.starter)
        return name


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@contextmanager
def stage_run(
    stage: str, params: Mapping[str, Any], config: TrackingConfig, *, root: Path = Path()
) -> Iterator[Recorder]:
    """Track one stage: yield a recorder for its results, mark the run FAILED and re-raise if the stage raises.

    `params` are the stage's parameters, nested as in params.yaml. Raises `EnvironmentFault` if tracking is required and
    the store fails, before the stage's work where the store is already down then.
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


def _not_applicable_tags(reasons: Mapping[str, str]) -> dict[str, str]:
    """MLflow tags of the stages that stepped aside: `not_applicable.<stage>`, where MLflow takes no `@`."""
    return flatten({"not_applicable": reasons})
