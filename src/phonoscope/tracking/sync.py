"""Parent runs for results that DVC restored from its run cache: no stage ran, so no stage tracked them."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from phonoscope import paths
from phonoscope.config.tracking import TrackingConfig
from phonoscope.tracking import provenance, runs
from phonoscope.tracking.provenance import EXP_BASELINE, EXP_NAME, Experiment, Results
from phonoscope.tracking.records import FINGERPRINT, KIND, log_headline, parent_name, write_pending, writing
from phonoscope.tracking.store import Guard, Store, open_store

if TYPE_CHECKING:
    from mlflow.entities import Run

logger = logging.getLogger(__name__)

EXP_REV = "dvc.exp_rev"
PARENTS = f"tags.`{KIND}` = 'repro'"


def sync_mlflow(root: Path, config: TrackingConfig) -> int:
    """Add a parent run for the workspace's results and for each DVC experiment that has none; return their number.

    Runs of stages that wait to be written are written first.
    Adds nothing for a repro that executed its stages, and nothing a second time. A parent run whose summary stage was
    restored gets its headline metrics now and is counted. An experiment that ended before the summary stage gets no
    headline metrics and the tag `phonoscope.partial`. The workspace is left out unless `dvc status` reports it up to
    date. Raises `EnvironmentFault` if tracking is required and its store is down.
    """
    return Guard(config, root).attempt(lambda: _sync(root, config)) or 0


def _sync(root: Path, config: TrackingConfig) -> int:
    with writing(root):
        if count := write_pending(root):
            logger.info("%d runs of stages were waiting and are in MLflow now", count)
    store = open_store(root, config)
    results = provenance.workspace_results(root) if _up_to_date(root) else None
    with store.lock:
        count = sum(_sync_experiment(root, store, experiment) for experiment in provenance.experiments(root))
        return count + (_sync_workspace(root, store, results) if results else 0)


def _up_to_date(root: Path) -> bool:
    command = [sys.executable, "-m", "dvc", "status", "--quiet"]
    if subprocess.run(command, cwd=root, capture_output=True).returncode == 0:
        return True
    logger.info("the workspace is not up to date; run `dvc repro` to add its results")
    return False


def _sync_experiment(root: Path, store: Store, experiment: Experiment) -> bool:
    results = provenance.committed_results(root, experiment.revision)
    if results is None:
        return False
    same_base = store.search(f"{PARENTS} and tags.`{EXP_BASELINE}` = '{experiment.baseline}'", deleted=True)
    tracked = [run for run in same_base if run.data.tags.get(FINGERPRINT) == results.fingerprint]
    named = [run for run in same_base if _is_active(run) and run.data.tags.get(EXP_NAME) == experiment.name]
    unfinished = [run for run in named if FINGERPRINT not in run.data.tags][:1]
    if not tracked and unfinished:
        _finish(store, unfinished[0].info.run_id, results, unfinished[0].info.end_time)
    elif not tracked:
        names = {EXP_NAME: experiment.name, EXP_BASELINE: experiment.baseline, EXP_REV: experiment.revision}
        tags = {**runs.parent_tags(root), **names, provenance.COMMIT: experiment.baseline}
        _backfill(store, results, tags, experiment.committed_s)
    for run in named:
        if EXP_REV not in run.data.tags and run in (tracked or unfinished):
            store.client.set_tag(run.info.run_id, EXP_REV, experiment.revision)
    return not tracked


def _sync_workspace(root: Path, store: Store, results: Results) -> bool:
    parents = store.search(PARENTS, deleted=True)
    here = [run for run in parents if _is_active(run) and run.data.tags.get(runs.CHECKOUT) == runs.checkout_name(root)]
    if here and _lacks_summary(here[0]):
        _finish(store, here[0].info.run_id, results, here[0].info.end_time)
        return True
    if any(run.data.tags.get(FINGERPRINT) == results.fingerprint for run in parents):
        return False
    run_id = _backfill(store, results, runs.parent_tags(root), time.time())
    for file in [root / "dvc.lock", *sorted((root / paths.SUMMARY.parent).rglob("*.csv"))]:
        store.client.log_artifact(run_id, str(file), file.relative_to(root).parent.as_posix().removeprefix("."))
    return True


def _is_active(run: Run) -> bool:
    return run.info.lifecycle_stage == "active"


def _lacks_summary(run: Run) -> bool:
    """Whether a successful repro ran no summary stage, because the summary was up to date already."""
    tags, finished = run.data.tags, run.info.status == "FINISHED"
    return finished and tags.get(runs.BY_DVC) == "true" and not {FINGERPRINT, EXP_NAME} & tags.keys()


def _backfill(store: Store, results: Results, tags: Mapping[str, str], start_s: float) -> str:
    run_id = store.create_run(parent_name(tags), {**tags, "phonoscope.backfilled": "true"}, start_s)
    _finish(store, run_id, results, int(start_s * 1000))
    return run_id


def _finish(store: Store, run_id: str, results: Results, end_ms: int) -> None:
    log_headline(store, run_id, results)
    store.client.set_terminated(run_id, "FINISHED", end_ms)
