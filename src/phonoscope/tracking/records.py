"""Records of stages' runs in `.phonoscope/runs/`, which wait to be written to MLflow."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from phonoscope import paths
from phonoscope.config.tracking import TrackingConfig
from phonoscope.files import atomic_dir
from phonoscope.tracking import provenance
from phonoscope.tracking.provenance import Results
from phonoscope.tracking.store import Store, main_checkout, open_store, param_texts

KIND = "phonoscope.kind"
PARENT_KEY = "phonoscope.parent_key"
RECORD = "phonoscope.record"
RECORD_FILE = "record.json"
FINGERPRINT = "phonoscope.fingerprint"
UNSUCCESSFUL = ("FAILED", "KILLED")


@dataclass
class Record:
    """What MLflow shall know of one run of a stage. Times are milliseconds since 1970."""

    stage: str
    experiment: str
    """MLflow's experiment."""
    repro: str
    """The key of the parent run, the same for all stages of a repro."""
    parent: dict[str, str]
    """Tags of the parent run, where this stage is the first under it."""
    tags: dict[str, str]
    params: dict[str, Any]
    started_ms: int
    ended_ms: int = 0
    status: str = "FINISHED"
    metrics: dict[str, Any] = field(default_factory=dict)
    headline: dict[str, Any] = field(default_factory=dict)
    """`params` and `summary` of the whole repro, from the stage that writes metrics/summary.json."""
    headline_tags: dict[str, str] = field(default_factory=dict)
    """Tags that go with the headline."""
    environment: dict[str, Any] = field(default_factory=dict)


def records_folder(root: Path) -> Path:
    """Where the records wait: in the main checkout, because the folder of an experiment is deleted after it."""
    return main_checkout(root) / paths.STATE / "runs"


def save(root: Path, record: Record, figures: Sequence[Path]) -> str:
    """Keep a record and copies of its figures until MLflow has them; return its name. Raises `OSError`."""
    name = f"{record.ended_ms:013d}-{os.getpid()}-{record.stage}"
    with atomic_dir(records_folder(root) / name) as folder:
        (folder / "figures").mkdir()
        for figure in figures:
            shutil.copyfile(figure, folder / "figures" / figure.name)
        (folder / RECORD_FILE).write_text(json.dumps(asdict(record), default=str), encoding="utf-8")
    return name


def pending(root: Path) -> list[Path]:
    """Folders of the records that wait, oldest first."""
    return sorted(file.parent for file in records_folder(root).glob(f"[0-9]*/{RECORD_FILE}"))


def writing(root: Path) -> FileLock:
    """The lock to hold while records are written. The end of its process frees it, whatever the end."""
    records_folder(root).mkdir(parents=True, exist_ok=True)
    return FileLock(records_folder(root) / "lock")


def write_pending(root: Path) -> int:
    """Write the records that wait to MLflow, oldest first, and delete them; return their number.

    To be called with the lock `writing` held. Raises the errors of the back end; what is not written goes on waiting.
    """
    stores = dict[str, Store]()
    folders = pending(root)
    for folder in folders:
        record = Record(**json.loads((folder / RECORD_FILE).read_text(encoding="utf-8")))
        if record.experiment not in stores:
            stores[record.experiment] = open_store(root, TrackingConfig(experiment=record.experiment))
        _write(stores[record.experiment], folder, record)
        shutil.rmtree(folder)
    return len(folders)


def _write(store: Store, folder: Path, record: Record) -> None:
    parent_id, parent_status = _parent(store, record)
    tags = {KIND: "stage", "dvc.stage": record.stage, "mlflow.parentRunId": parent_id, RECORD: folder.name}
    begun = store.search(f"tags.`{RECORD}` = '{folder.name}'")  # by a writer that was killed
    started_s = record.started_ms / 1000
    run_id = begun[0].info.run_id if begun else store.create_run(record.stage, tags | record.tags, started_s)
    store.log(run_id, metrics=record.metrics, params=record.params)
    store.client.log_artifacts(run_id, str(folder / "figures"), "figures")
    store.client.set_terminated(run_id, record.status, record.ended_ms)
    if record.headline:
        _write_headline(store, parent_id, record)
    elif record.status in UNSUCCESSFUL or parent_status not in UNSUCCESSFUL:
        store.client.set_terminated(parent_id, record.status, record.ended_ms)


def _parent(store: Store, record: Record) -> tuple[str, str]:
    """Id and status of the parent run, made where this is the first stage of its repro."""
    with store.lock:
        found = store.search(f"tags.`{PARENT_KEY}` = '{record.repro}'")
        return (found[0].info.run_id, found[0].info.status) if found else (_new_parent(store, record), "RUNNING")


def _new_parent(store: Store, record: Record) -> str:
    tags = record.parent | {PARENT_KEY: record.repro}
    run_id = store.create_run(parent_name(tags), tags, record.started_ms / 1000)
    store.client.log_dict(run_id, record.environment, "environment.json")
    return run_id


def _write_headline(store: Store, parent_id: str, record: Record) -> None:
    results = Results(**record.headline)
    logged = store.client.get_run(parent_id).data.params
    if any(logged.get(key, text) != text for key, text in param_texts(results.params).items()):
        # an experiment run again under its name: MLflow never changes a parameter, so it gets its own row
        parent_id = _new_parent(store, record)
    log_headline(store, parent_id, results)
    store.log(parent_id, tags=record.headline_tags)
    store.client.set_terminated(parent_id, "FINISHED", record.ended_ms)


def parent_name(tags: Mapping[str, str]) -> str:
    """What MLflow calls a parent run."""
    return tags.get(provenance.EXP_NAME) or f"repro-{tags.get(provenance.COMMIT, '')[:7] or 'uncommitted'}"


def log_headline(store: Store, run_id: str, results: Results) -> None:
    """Log the parameters, headline metrics and identity of a parent run."""
    tags = {FINGERPRINT: results.fingerprint, "phonoscope.partial": str(results.partial).lower()}
    store.log(run_id, params=results.params, metrics=results.summary, tags=tags)
