"""A real `dvc repro` at toy scale, and what DVC and MLflow make of changes after it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from phonoscope import paths
from phonoscope.config.params import Params, load_params
from phonoscope.config.tracking import TrackingConfig
from phonoscope.files import require_finite
from phonoscope.pipeline import runner
from phonoscope.pipeline.integrity import inputs
from tests.commandline import phonoscope
from tests.pipeline.broken import BREAKS, SHAPES, Change, changed, largest, removed, stage_deps
from tests.pipeline.clone import OUTPUTS, TOY, Clone, executed
from tests.pipeline.conftest import CODECS, Done
from tests.pipeline.disturb import locked

AFTER_PROBE = {*(f"probe@{codec}" for codec in CODECS), "compare", "summary"}
DEPTH = {f"depth@{codec}" for codec in CODECS}
FOREACH = {
    ("codec", "encode", "geometry", "depth"): CODECS,
    ("sae", "interpret", "causal", "browse"): TOY["sae"]["sites"],
}
ONCE = {
    *("corpus", "align", "split", "features", "maps", "vq", "encoder@codes", "encoder@mel"),
    *(f"{part}-report" for part in ("geometry", "sae", "vq", "encoder", "depth")),
}
EVERY = AFTER_PROBE | ONCE | {f"{kind}@{item}" for kinds, items in FOREACH.items() for kind in kinds for item in items}


def query(clone: Clone, statement: str) -> list[tuple[str, ...]]:
    with closing(sqlite3.connect(clone.root / "mlflow.db")) as connection:
        return connection.execute(statement).fetchall()


def metric_names(clone: Clone, tag: str, value: str) -> set[str]:
    """The metrics of the one parent run with this tag."""
    parents = query(
        clone,
        "select run_uuid from tags where key = 'phonoscope.kind' and value = 'repro' "
        f"intersect select run_uuid from tags where key = '{tag}' and value = '{value}'",
    )
    assert len(parents) == 1
    return {name for (name,) in query(clone, f"select key from latest_metrics where run_uuid = '{parents[0][0]}'")}


def test_repro_runs_every_stage_once_and_leaves_its_results(done: Done) -> None:
    assert executed(done.output) == EVERY
    assert set(locked(done.clone)) == EVERY
    summary = json.loads((done.clone.root / paths.SUMMARY).read_text())
    require_finite(summary)
    assert summary["corpus"]["utterances"] == TOY["corpus"]["max_utterances"]
    assert set(summary["codec"]) == set(summary["probe"]) == set(CODECS)
    for codec in CODECS:
        assert set(summary["probe"][codec]) == {"phone", "speaker", "pitch"}
        layers = TOY["codecs"][codec]["layers"]
        assert set(summary["probe"][codec]["phone"]) == {f"layer_{layer}" for layer in range(1, layers + 1)}
        assert {"bitrate_bps", "si_sdr_db", f"perplexity_layer_{layers}"} <= set(summary["codec"][codec])
    assert not [path for folder in OUTPUTS for path in (done.clone.root / folder).rglob("*.tmp*")]


def test_all_stages_hang_under_one_mlflow_run(done: Done) -> None:
    stages = query(done.clone, "select value from tags where key = 'mlflow.parentRunId'")
    assert len(stages) == len(EVERY)
    assert len(set(stages)) == 1
    assert query(done.clone, "select distinct status from runs") == [("FINISHED",)]
    names = {name for (name,) in query(done.clone, f"select key from latest_metrics where run_uuid = '{stages[0][0]}'")}
    assert {"probe.dac.phone.layer_3", "codec.dac.bitrate_bps"} <= names
    assert "nothing to add" in done.clone.phonoscope("sync-mlflow")


def test_the_second_repro_executes_nothing(done: Done) -> None:
    assert done.clone.run("git", "status", "--porcelain").stdout == ""
    output = done.clone.dvc("repro")
    assert executed(output) == set()
    assert "Data and pipelines are up to date" in output
    assert "up to date" in done.clone.dvc("status")
    assert done.clone.run("git", "status", "--porcelain").stdout == ""


def flipped(whole: bytes) -> bytes:
    """One bit turned over in the middle."""
    middle = len(whole) // 2
    return whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]


def test_verify_finds_nothing_after_a_repro(done: Done) -> None:
    report = done.clone.verify()
    assert (report["ok"], report["faults"]) == (True, [])
    assert report["checked"]["outputs"] > len(EVERY)
    assert "nothing prevents" in done.clone.phonoscope("doctor")


def test_verify_names_a_flipped_bit_in_every_kind_of_artifact(done: Done) -> None:
    root = done.clone.root
    files = [path for folder in OUTPUTS[:-1] for path in sorted((root / folder).rglob("*")) if path.is_file()]
    one_of_each = {(path.relative_to(root).parts[:2], path.suffix): path for path in files if path.stat().st_size}
    chosen = [path for path in one_of_each.values() if path.name != ".gitignore"]
    assert {".flac", ".parquet", ".json", ".safetensors", ".TextGrid", ".npy", ".csv", ".png", ".html"} <= {
        path.suffix for path in chosen
    }
    with ExitStack() as stack:
        for path in chosen:
            stack.enter_context(changed(path, flipped))
        report = done.clone.verify()
    named = {fault["path"] for fault in report["faults"] if fault["where"] == "workspace"}
    assert named == {path.relative_to(root).as_posix() for path in chosen}
    assert all(fault["fix"] for fault in report["faults"])


@pytest.fixture(scope="module")
def read_once(done: Done) -> tuple[Params, dict[str, Any]]:
    """The clone's parameters without tracking, and the stages of its dvc.yaml."""
    params = load_params(done.clone.root / paths.PARAMS)
    params = params.model_copy(update={"tracking": TrackingConfig(enabled=False)})
    return params, inputs.resolve(done.clone.root / "dvc.yaml", params.model_dump(mode="json"))


@pytest.fixture
def in_clone(done: Done, read_once: tuple[Params, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages run in this process and in the clone's folder, and do not read params.yaml and dvc.yaml anew."""
    params, stages = read_once
    monkeypatch.setattr(runner, "load_params", lambda path: params)
    monkeypatch.setattr(inputs, "resolve", lambda *_: stages)
    monkeypatch.chdir(done.clone.root)


@pytest.mark.usefixtures("in_clone")
def test_every_stage_names_what_is_missing_cut_or_empty(done: Done) -> None:
    stages = stage_deps(done.clone.root)
    assert {stage.partition("@")[0] for stage in stages} == {stage.partition("@")[0] for stage in EVERY}
    for stage, deps in stages.items():
        for dep in deps:
            file = largest(dep)
            assert file, dep
            for broken, context in [(dep, removed(dep)), *((file, changed(file, each)) for each in BREAKS.values())]:
                with context:
                    line = phonoscope(*stage.split("@")).refusal(4)
                assert broken.as_posix() in line
                assert "dvc repro" in line
    assert done.clone.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.usefixtures("in_clone")
@pytest.mark.parametrize(
    ("stage", "file", "change", "said"), SHAPES, ids=[f"{stage}: {said}" for stage, _, _, said in SHAPES]
)
def test_what_does_not_fit_is_named(stage: str, file: str, change: Change, said: str) -> None:
    with changed(Path(file), change):
        line = phonoscope(*stage.split("@")).refusal(4)
    assert all(part in line for part in (Path(file).parent.as_posix(), said, "dvc repro")), line


@pytest.mark.parametrize(
    ("touched", "stale"),
    [
        ("src/phonoscope/probes/solvers.py", DEPTH | AFTER_PROBE),
        ("src/phonoscope/geometry/words.py", {"maps"} | {f"geometry@{codec}" for codec in CODECS}),
        ("src/phonoscope/cli.py", set()),
        ("src/phonoscope/tracking/runs.py", set()),
    ],
)
def test_a_change_of_code_concerns_the_stages_that_import_it(done: Done, touched: str, stale: set[str]) -> None:
    with changed(done.clone.root / touched, lambda whole: whole + b"\n# changed\n"):
        assert set(json.loads(done.clone.dvc("status", "--json"))) == stale


def test_the_number_of_workers_and_tracking_concern_no_stage(done: Done) -> None:
    with changed(done.clone.root / "params.yaml", bytes):
        done.clone.set_params({"compute": {"workers": 7}, "tracking": {"enabled": False}})
        assert json.loads(done.clone.dvc("status", "--json")) == {}


def test_a_bad_parameter_stops_an_experiment_with_its_key(done: Done) -> None:
    before = done.clone.run("git", "for-each-ref", "refs/exps").stdout
    failed = done.clone.run("dvc", "exp", "run", "--temp", "-S", "corpus.max_utterances=-1", check=False)
    assert failed.returncode != 0
    assert "corpus.max_utterances: input should be greater than or equal to 0, got -1" in failed.stdout
    assert "Traceback" not in failed.stdout
    assert done.clone.run("git", "for-each-ref", "refs/exps").stdout == before


@pytest.fixture(scope="session")
def experiment(done: Done) -> str:
    """Output of an experiment in a temporary folder, with a hundredth of the default C."""
    return done.clone.dvc("exp", "run", "--temp", "--name", "weak", "-S", "probe.classifier.C=0.01")


def test_an_experiment_runs_only_what_its_parameter_concerns(done: Done, experiment: str) -> None:
    assert executed(experiment) == AFTER_PROBE
    assert done.clone.run("git", "status", "--porcelain").stdout == ""


@pytest.mark.usefixtures("experiment")
def test_an_experiment_leaves_its_mlflow_run_in_the_checkout(done: Done) -> None:
    assert "probe.dac.phone.layer_1" in metric_names(done.clone, "dvc.exp_name", "weak")
    artifacts = {uri for (uri,) in query(done.clone, "select artifact_uri from runs")}
    assert all(Path(uri.removeprefix("file://")).is_relative_to(done.clone.root / "mlartifacts") for uri in artifacts)


@pytest.mark.usefixtures("experiment")
def test_diffs_show_what_an_experiment_changed(done: Done, tmp_path: Path) -> None:
    metrics = json.loads(done.clone.dvc("metrics", "diff", "--json", "HEAD", "weak"))
    changed = metrics[paths.SUMMARY.as_posix()]
    assert any(name.startswith("probe.dac.phone.") for name in changed)
    assert not any(".pitch." in name or name.startswith("codec.") for name in changed)
    params = json.loads(done.clone.dvc("params", "diff", "--json", "HEAD", "weak"))
    assert set(params["params.yaml"]) == {"probe.classifier.C"}
    done.clone.dvc("plots", "diff", "HEAD", "weak", "--out", str(tmp_path / "plots"))
    page = (tmp_path / "plots" / "index.html").read_text(encoding="utf-8")
    assert "weak" in page
    assert "vega" in page.lower()
    assert "weak" in done.clone.dvc("exp", "show", "--only-changed", "--csv")


def test_a_pulled_clone_has_the_results_and_runs_nothing(done: Done, tmp_path: Path) -> None:
    pulled = done.clone.cloned(tmp_path / "phonoscope")
    for clone in (done.clone, pulled):
        clone.dvc("remote", "add", "--local", "--default", "store", str(tmp_path / "remote"))
    done.clone.dvc("push")
    pulled.dvc("pull")
    for folder in (paths.CORPUS, paths.ALIGNMENTS, Path("models"), Path("data/tokens")):
        files = sorted(p.relative_to(done.clone.root) for p in (done.clone.root / folder).rglob("*") if p.is_file())
        assert files
        assert all((pulled.root / file).read_bytes() == (done.clone.root / file).read_bytes() for file in files)
    assert executed(pulled.dvc("repro")) == set()
