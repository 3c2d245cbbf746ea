"""Where results come from: the git commit, the DVC experiment, the repro, and the parameters behind a summary."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from phonoscope import paths

if TYPE_CHECKING:
    import psutil

EXP_NAME = "dvc.exp_name"
EXP_BASELINE = "dvc.exp_baseline_rev"
EXP_REV = "dvc.exp_rev"
COMMIT = "mlflow.source.git.commit"
DIRTY = "git.dirty"
OUTPUTS = ("dvc.lock", "metrics", "plots")  # DVC rewrites these while it runs
UNHASHED = (("tracking", None), ("compute", "workers"))  # parameters that no result depends on


def git(root: Path, *arguments: str) -> str:
    """Standard output of one git command in `root`; empty where git is absent, fails, or there is no commit yet."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, encoding="utf-8")
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def commit_tags(root: Path) -> dict[str, str]:
    """The commit checked out in `root`, and whether tracked files other than DVC's outputs differ from it."""
    commit = git(root, "rev-parse", "--verify", "HEAD")
    if not commit:
        return {}
    sources = [".", *(f":(exclude){path}" for path in OUTPUTS)]
    changed = git(root, "status", "--porcelain", "--untracked-files=no", "--", *sources)
    return {COMMIT: commit, DIRTY: str(bool(changed)).lower()}


def experiment_tags() -> dict[str, str]:
    """Name and baseline revision of the DVC experiment this process runs in; its own commit does not exist yet."""
    known = {EXP_NAME: os.environ.get("DVC_EXP_NAME"), EXP_BASELINE: os.environ.get("DVC_EXP_BASELINE_REV")}
    return {tag: value for tag, value in known.items() if value}


@dataclass(frozen=True)
class Repro:
    """What groups stages: one DVC experiment, else one dvc process, else the process itself."""

    key: str
    """The same for all stages of one repro; free of characters that a search filter would trip over."""
    started_s: float
    """Start of the process that `key` names, or 0 for an experiment. Process ids are reused, so it is compared too."""
    by_dvc: bool


def is_dvc(process: psutil.Process) -> bool:
    """Whether it is `dvc`, however it was started; not of a process that has ended."""
    import psutil

    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    program = [Path(word).name for word in words[:3]]
    return program[:1] in (["dvc"], ["dvc.exe"]) or program[1:2] == ["dvc"] or program[1:] == ["-m", "dvc"]


def current_repro() -> Repro:
    """The repro that this process is a stage of."""
    import psutil

    tags = experiment_tags()
    if EXP_NAME in tags:
        return Repro(_digest("experiment", tags.get(EXP_BASELINE, ""), tags[EXP_NAME]), 0.0, by_dvc=True)
    own = psutil.Process()
    try:
        starter = next(filter(is_dvc, own.parents()), own)
        return Repro(_digest("process", platform.node(), starter.pid), starter.create_time(), by_dvc=starter != own)
    except psutil.NoSuchProcess:
        return Repro(_digest("process", platform.node(), own.pid), own.create_time(), by_dvc=False)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Results:
    """The headline metrics together with the parameters that made them."""

    params: Mapping[str, Any]
    summary: Mapping[str, Any]

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the results: equal for equal parameters (but those no result depends on) and metrics."""
        params = dict(self.params)
        for section, name in UNHASHED:
            kept = {} if name is None else {k: v for k, v in params.get(section, {}).items() if k != name}
            params[section] = kept
        return _digest(params, self.summary)


def parse_results(params_yaml: str, summary_json: str) -> Results:
    """Results from the text of params.yaml and of metrics/summary.json."""
    from ruamel.yaml import YAML

    return Results(YAML(typ="safe", pure=True).load(params_yaml) or {}, json.loads(summary_json))


def workspace_results(root: Path) -> Results | None:
    """The results lying in `root`, or None where there are none yet."""
    files = [root / paths.PARAMS, root / paths.SUMMARY]
    if not all(file.is_file() for file in files):
        return None
    return parse_results(*(file.read_text(encoding="utf-8") for file in files))


def committed_results(root: Path, revision: str) -> Results | None:
    """The results that a revision holds, or None where it holds none."""
    texts = [git(root, "show", f"{revision}:./{path.as_posix()}") for path in (paths.PARAMS, paths.SUMMARY)]
    return parse_results(*texts) if all(texts) else None


@dataclass(frozen=True)
class Experiment:
    """A finished DVC experiment, as git keeps it under `refs/exps/<baseline>/<name>`."""

    name: str
    baseline: str
    revision: str
    committed_s: int

    @property
    def tags(self) -> dict[str, str]:
        return {EXP_NAME: self.name, EXP_BASELINE: self.baseline, EXP_REV: self.revision, COMMIT: self.baseline}


def experiments(root: Path) -> list[Experiment]:
    """All DVC experiments of the repository, on every baseline."""
    found = []
    for line in git(
        root, "for-each-ref", "--format=%(refname) %(objectname) %(creatordate:unix)", "refs/exps"
    ).splitlines():
        ref, revision, committed = line.split(" ")
        parts = ref.split("/")
        if len(parts) == 5 and len(parts[2] + parts[3]) == 40:  # DVC keeps its queue and locks in shorter names
            found.append(Experiment(parts[4], parts[2] + parts[3], revision, int(committed)))
    return found
