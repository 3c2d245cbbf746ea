"""Runs of stages against a real MLflow store."""

import json
import os
import platform
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from phonoscope.config.tracking import TrackingConfig
from phonoscope.tracking import stage_run
from phonoscope.tracking.machine import environment
from phonoscope.tracking.store import Store
from tests.commandline import python

CONFIG = TrackingConfig(required=True)


def _of(store: Store, experiment: str) -> list:
    """The runs of stages, newest first, then those of repros."""
    runs = store.search(f"tags.`dvc.exp_name` = '{experiment}'")
    return sorted(runs, key=lambda run: run.data.tags["phonoscope.kind"] == "repro")


def test_stages_hang_under_one_parent(checkout: Path, store: Store, experiment: str) -> None:
    for stage in ("encode@dac", "probe@dac"):
        with stage_run(stage, {"probe": {"phone": {"C": 0.1, "class_weight": None}}}, CONFIG, root=checkout):
            pass
    probe, encode, parent = _of(store, experiment)
    assert parent.data.tags["mlflow.runName"] == experiment
    assert "mlflow.parentRunId" not in parent.data.tags
    assert [run.data.tags["mlflow.parentRunId"] for run in (probe, encode)] == [parent.info.run_id] * 2
    assert probe.data.tags["dvc.stage"] == "probe@dac"
    assert probe.data.tags["dvc.exp_baseline_rev"] == "b" * 40
    assert probe.data.tags["package.numpy"] == np.__version__
    machine = {key: value for key, value in environment().items() if key != "packages"}
    assert {key: probe.data.tags[f"machine.{key}"] for key in machine} == {k: str(v) for k, v in machine.items()}
    assert probe.data.params == {"probe.phone.C": "0.1", "probe.phone.class_weight": "null"}
    assert [run.info.status for run in (probe, encode, parent)] == ["FINISHED"] * 3
    assert probe.data.metrics["stage.wall_s"] >= 0
    assert probe.data.metrics["stage.peak_memory_mb"] > 1


def test_report_becomes_metrics_steps_and_artifacts(checkout: Path, store: Store, experiment: str) -> None:
    figure = checkout / "phone.png"
    figure.write_bytes(b"png")
    many = {f"metric_{number}": float(number) for number in range(250)}
    with stage_run("probe@dac", {}, CONFIG, root=checkout) as recorder:
        recorder.log({**many, "phone.macro_f1": [0.5, 0.25, 0.125]}, [figure])
    child, _ = _of(store, experiment)
    assert {key: child.data.metrics[key] for key in many} == many
    history = store.client.get_metric_history(child.info.run_id, "phone.macro_f1")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert [entry.path for entry in store.client.list_artifacts(child.info.run_id, "figures")] == ["figures/phone.png"]
    assert (checkout / "mlartifacts" / child.info.run_id / "artifacts/figures/phone.png").read_bytes() == b"png"


def test_stages_that_are_not_applicable_are_tags_of_the_run_and_of_its_parent(
    checkout: Path, store: Store, experiment: str
) -> None:
    with stage_run("vq", {}, CONFIG, root=checkout) as recorder:
        recorder.tag_not_applicable({"vq": "no digits"})
    with stage_run("summary", {}, CONFIG, root=checkout) as recorder:
        recorder.finish_parent({"codec": {}}, {"vq": "no digits", "encoder@mel": "no words"})
    _, vq, parent = _of(store, experiment)
    assert vq.data.tags["not_applicable.vq"] == "no digits"
    assert vq.info.status == "FINISHED"
    assert parent.data.tags["not_applicable.vq"] == "no digits"
    assert parent.data.tags["not_applicable.encoder_mel"] == "no words"


@pytest.mark.parametrize(("fault", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")])
def test_a_stage_that_fails_marks_its_run_and_its_parent(
    checkout: Path, store: Store, experiment: str, fault: type[BaseException], status: str
) -> None:
    with pytest.raises(fault), stage_run("encode@dac", {}, CONFIG, root=checkout):
        raise fault
    with stage_run("encode@encodec", {}, CONFIG, root=checkout):
        pass
    assert [run.info.status for run in _of(store, experiment)] == ["FINISHED", status, status]


def test_experiment_run_again_with_other_parameters_has_two_rows(checkout: Path, store: Store, experiment: str) -> None:
    for strength in ("0.1", "0.5"):
        (checkout / "params.yaml").write_text(f"C: {strength}\n")
        with stage_run("summary", {}, CONFIG, root=checkout) as recorder:
            recorder.finish_parent({"value": float(strength)})
    parents = [run for run in _of(store, experiment) if run.data.tags["phonoscope.kind"] == "repro"]
    rows = sorted((run.data.params["C"], run.data.metrics["value"]) for run in parents)
    assert rows == [("0.1", 0.1), ("0.5", 0.5)]


def test_cost_and_environment_are_recorded_even_untracked(tmp_path: Path) -> None:
    with stage_run("split", {}, TrackingConfig(enabled=False), root=tmp_path):
        pass
    record = json.loads((tmp_path / ".phonoscope/environment.json").read_text())
    known = {"cpu_count": os.cpu_count(), "python": platform.python_version(), "platform": platform.platform()}
    known |= {"torch_threads": torch.get_num_threads(), "torch_instructions": torch.backends.cpu.get_cpu_capability()}
    assert known.items() <= record.items()
    assert record["packages"]["numpy"] == np.__version__
    assert record["cpu_model"]
    assert record["blas_threads"] >= 1
    (row,) = map(json.loads, (tmp_path / ".phonoscope/timings.jsonl").read_text().splitlines())
    assert row["stage"] == "split"
    assert row["status"] == "FINISHED"
    assert row["wall_s"] >= 0
    assert not (tmp_path / "mlflow.db").exists()


def test_import_does_not_load_mlflow(tmp_path: Path) -> None:
    assert "mlflow" not in python(tmp_path, "-c", "import sys, phonoscope.tracking; print(*sys.modules)").stdout.split()


def test_random_states_are_untouched(checkout: Path, experiment: str) -> None:
    before = random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist()
    with stage_run("probe@dac", {"C": 1}, CONFIG, root=checkout) as recorder:
        recorder.log({"a": 1.0})
    assert (random.getstate(), np.random.get_state(legacy=False)["state"]["key"].tolist()) == before
