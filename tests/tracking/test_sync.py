"""Tracking and backfill of a real DVC pipeline in a temporary git repository."""

import shutil
from pathlib import Path

import pytest

from phonoscope.config.tracking import TrackingConfig
from phonoscope.tracking import sync_mlflow
from phonoscope.tracking.provenance import Results, read_yaml
from phonoscope.tracking.store import open_store
from tests.commandline import SOURCE
from tests.pipeline.clone import Clone

PIPELINE_CONFIG = TrackingConfig(required=True, experiment="pipeline")
PARENTS = "tags.`phonoscope.kind` = 'repro'"
SCORE = "probe.dac.phone.layer_1"

STAGE = """
import json, os, sys
from pathlib import Path
from ruamel.yaml import YAML
from phonoscope.config.tracking import TrackingConfig
from phonoscope.tracking import stage_run

stage, params = sys.argv[1], YAML(typ="safe").load(Path("params.yaml"))
config = TrackingConfig(experiment="pipeline", enabled="UNTRACKED" not in os.environ)
with stage_run(stage, {"probe": params["probe"]}, config) as recorder:
    if stage == "probe":
        Path("score.txt").write_text(str(params["probe"]["C"] / 3))
    else:
        summary = {"probe": {"dac": {"phone": {"layer_1": float(Path("score.txt").read_text())}}}}
        Path("metrics").mkdir(exist_ok=True)
        Path("metrics/summary.json").write_text(json.dumps(summary))
        recorder.finish_parent(summary)
"""

PIPELINE = f"""
stages:
  probe:
    cmd: env PYTHONPATH={SOURCE} python stage.py probe
    deps: [stage.py]
    params: [probe]
    outs: [score.txt]
  summary:
    cmd: env PYTHONPATH={SOURCE} python stage.py summary
    deps: [score.txt]
    metrics:
      - metrics/summary.json:
          cache: false
"""


def test_fingerprint_follows_results_only() -> None:
    def fingerprint(params: str, value: float = 1) -> str:
        return Results(read_yaml(params), {"a": value}).fingerprint

    base = fingerprint("compute: {workers: 2, torch_threads: 1}\nC: 1.0e-4\n")
    same = "# a comment\nC: 0.0001\ncompute: {torch_threads: 1, workers: 8}\ntracking: {required: true}\n"
    assert fingerprint(same) == base
    assert fingerprint("compute: {torch_threads: 2}\nC: 0.0001\n") != base
    assert fingerprint(same, 1.5) != base


def commit(repository: Clone) -> str:
    repository.commit("changes")
    return head(repository)


def head(repository: Clone) -> str:
    return repository.run("git", "rev-parse", "HEAD").stdout.strip()


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Clone:
    """The pipeline after one tracked `dvc repro`."""
    repository = Clone(tmp_path_factory.mktemp("repository")).initialise()
    shutil.copy(checkout / "mlflow.db", repository.root / "mlflow.db")
    (repository.root / ".gitignore").write_text("/mlflow.db*\n/mlartifacts/\n/.phonoscope/\n")
    (repository.root / "stage.py").write_text(STAGE)
    (repository.root / "dvc.yaml").write_text(PIPELINE)
    (repository.root / "params.yaml").write_text("probe: {C: 1.0}\ncompute: {workers: 2}\n")
    repository.dvc("init", "-q")
    repository.commit("the pipeline")
    repository.dvc("repro", "-q")
    return repository


@pytest.fixture
def repository(reproduced: Clone, tmp_path: Path) -> Clone:
    """A copy of the reproduced pipeline for one test."""
    return Clone(shutil.copytree(reproduced.root, tmp_path / "copy"))


def test_stages_of_one_dvc_process_share_a_parent_to_which_sync_adds_nothing(repository: Clone) -> None:
    store = open_store(repository.root, PIPELINE_CONFIG)
    (parent,) = store.search(PARENTS)
    assert parent.data.metrics == {SCORE: 1.0 / 3}
    assert parent.data.params == {"probe.C": "1.0", "compute.workers": "2"}
    assert parent.data.tags["mlflow.source.git.commit"] == head(repository)
    assert parent.data.tags["git.dirty"] == "false"
    assert parent.info.status == "FINISHED"
    stages = store.search(f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert [run.data.tags["dvc.stage"] for run in stages] == ["summary", "probe"]

    assert sync_mlflow(repository.root, PIPELINE_CONFIG) == 0
    store.client.delete_run(parent.info.run_id)
    assert sync_mlflow(repository.root, PIPELINE_CONFIG) == 0


def test_temporary_experiment_is_tracked_in_the_checkout(repository: Clone) -> None:
    baseline = commit(repository)
    repository.dvc("exp", "run", "-q", "--temp", "--name", "weak", "-S", "probe.C=0.1")
    store = open_store(repository.root, PIPELINE_CONFIG)
    weak, repro = store.search(PARENTS)
    assert [run.data.metrics[SCORE] for run in (weak, repro)] == [0.1 / 3, 1.0 / 3]
    assert weak.data.tags["dvc.exp_name"] == weak.data.tags["mlflow.runName"] == "weak"
    assert weak.data.tags["dvc.exp_baseline_rev"] == weak.data.tags["mlflow.source.git.commit"] == baseline
    assert len(store.search(f"tags.`mlflow.parentRunId` = '{weak.info.run_id}'")) == 2

    assert sync_mlflow(repository.root, PIPELINE_CONFIG) == 0
    revision = repository.run("git", "rev-parse", f"refs/exps/{baseline[:2]}/{baseline[2:]}/weak").stdout.strip()
    assert store.client.get_run(weak.info.run_id).data.tags["dvc.exp_rev"] == revision


def test_sync_adds_what_no_stage_has_tracked(repository: Clone) -> None:
    store = open_store(repository.root, PIPELINE_CONFIG)
    commit(repository)
    (repository.root / "params.yaml").write_text("probe: {C: 3.0}\ncompute: {workers: 1}\n")
    assert sync_mlflow(repository.root, PIPELINE_CONFIG) == 0  # these parameters have no results yet
    repository.run("env", "UNTRACKED=1", "dvc", "repro", "-q")
    baseline = commit(repository)
    repository.dvc("exp", "run", "-q", "--temp", "--name", "cached", "-S", "probe.C=1.0")
    assert len(store.search("")) == 3  # the run cache had it all, so no stage has run

    assert sync_mlflow(repository.root, PIPELINE_CONFIG) == 2
    assert sync_mlflow(repository.root, PIPELINE_CONFIG) == 0
    (cached,) = store.search("tags.`dvc.exp_name` = 'cached'")
    assert cached.data.metrics == {SCORE: 1.0 / 3}
    assert cached.data.params["probe.C"] == "1.0"
    assert cached.data.tags["dvc.exp_baseline_rev"] == baseline
    (workspace,) = [run for run in store.search(PARENTS) if run.data.params["probe.C"] == "3.0"]
    assert workspace.data.metrics == {SCORE: 1.0}
    assert "dvc.lock" in [entry.path for entry in store.client.list_artifacts(workspace.info.run_id)]


def test_sync_completes_a_repro_whose_summary_was_up_to_date(repository: Clone) -> None:
    (repository.root / "stage.py").write_text(f"# says the same in other words\n{STAGE}")
    repository.dvc("repro", "-q")
    store = open_store(repository.root, PIPELINE_CONFIG)
    second, first = store.search(PARENTS)
    assert second.data.metrics == {}
    assert sync_mlflow(repository.root, PIPELINE_CONFIG) == 1
    assert store.client.get_run(second.info.run_id).data.metrics == first.data.metrics
    assert sync_mlflow(repository.root, PIPELINE_CONFIG) == 0


@pytest.mark.parametrize("tracked", [True, False])
def test_an_experiment_without_a_summary_gets_no_metrics_of_the_old_one(repository: Clone, tracked: bool) -> None:
    commit(repository)
    run = ("env", *([] if tracked else ["UNTRACKED=1"]), "dvc", "exp", "run", "-q", "--temp", "--name", "part")
    repository.run(*run, "-S", "probe.C=0.1", "probe")
    store = open_store(repository.root, PIPELINE_CONFIG)
    assert sync_mlflow(repository.root, PIPELINE_CONFIG) == 1
    assert sync_mlflow(repository.root, PIPELINE_CONFIG) == 0
    (part,) = store.search(f"{PARENTS} and tags.`dvc.exp_name` = 'part'")
    assert (part.data.params["probe.C"], part.data.metrics) == ("0.1", {})
    assert part.data.tags["phonoscope.partial"] == "true"

    repository.run(*run, "--force", "-S", "probe.C=0.1")
    sync_mlflow(repository.root, PIPELINE_CONFIG)
    runs = store.search(f"{PARENTS} and tags.`dvc.exp_name` = 'part'")
    whole = [run for run in runs if run.data.tags["phonoscope.partial"] == "false"]
    assert [run.data.metrics for run in whole] == [{SCORE: 0.1 / 3}]
