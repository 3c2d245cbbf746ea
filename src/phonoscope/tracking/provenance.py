"""The origin of results: the git commit, the DVC experiment, the repro, and the parameters behind a summary."""

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from ruamel.yaml import YAML

from phonoscope import paths

EXP_NAME = "dvc.exp_name"
EXP_BASELINE = "dvc.exp_baseline_rev"
COMMIT = "mlflow.source.git.commit"
OUTPUTS = ("dvc.lock", "metrics", "plots")  # DVC rewrites these while it runs


def git(root: Path, *arguments: str) -> str:
    """Standard output of one git command in `root`; empty if git is missing or fails."""
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
    return {COMMIT: commit, "git.dirty": str(bool(changed)).lower()}


def experiment_tags() -> dict[str, str]:
    """Name and baseline revision of the DVC experiment that this process runs in; its commit does not exist yet."""
    tags = {EXP_NAME: os.environ.get("DVC_EXP_NAME"), EXP_BASELINE: os.environ.get("DVC_EXP_BASELINE_REV")}
    return {tag: value for tag, value in tags.items() if value}


class Repro(NamedTuple):
    """The group of a stage: one DVC experiment, else one dvc process, else the stage's process alone."""

    key: str  # the same for all stages of one repro; hexadecimal digits, safe in a search filter
    by_dvc: bool
    starter: int  # id of the process that started the stages: `dvc`, or the stage's own


def is_dvc(process: psutil.Process) -> bool:
    """Whether a running process is `dvc`, started in any way."""
    try:
        program = [Path(word).name for word in process.cmdline()[:3]]
    except psutil.Error:
        return False
    return program[:1] in (["dvc"], ["dvc.exe"]) or program[1:2] == ["dvc"] or program[1:] == ["-m", "dvc"]


def current_repro() -> Repro:
    """The repro that this process is a stage of."""
    stage, tags = psutil.Process(), experiment_tags()
    starter = next(filter(is_dvc, stage.parents()), stage)
    if EXP_NAME in tags:
        key = _digest("experiment", tags.get(EXP_BASELINE, ""), tags[EXP_NAME])
        return Repro(key, by_dvc=True, starter=starter.pid)
    # psutil hashes the process id and its start: ids are reused, and the start does not move when the clock is set
    key = _digest("process", platform.node(), hash(starter))
    return Repro(key, by_dvc=starter != stage, starter=starter.pid)


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


@dataclass(frozen=True)
class Results:
    """The headline metrics together with the parameters that they were computed with."""

    params: Mapping[str, Any]
    summary: Mapping[str, Any]
    partial: bool = False  # whether the run ended before the summary stage; `summary` is then empty

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the results: equal for equal metrics and parameters, without those that change no result."""
        compute = {key: value for key, value in self.params.get("compute", {}).items() if key != "workers"}
        return _digest({**self.params, "tracking": {}, "compute": compute}, self.summary)


def read_yaml(text: str) -> Any:
    """The content of a YAML text; an empty mapping for an empty text."""
    return YAML(typ="safe", pure=True).load(text) or {}


def workspace_results(root: Path) -> Results | None:
    """The results in the workspace `root`, or None without a summary."""
    files = [root / paths.PARAMS, root / paths.SUMMARY]
    if not all(file.is_file() for file in files):
        return None
    params, summary = (file.read_text(encoding="utf-8") for file in files)
    return Results(read_yaml(params), json.loads(summary))


def committed_results(root: Path, revision: str) -> Results | None:
    """The results of a revision, or None without a summary.

    `dvc exp run STAGE` commits the old summary beside new parameters: such results are partial.
    """
    files = paths.PARAMS, paths.SUMMARY, "dvc.lock"
    params, summary, lock = (git(root, "show", f"{revision}:./{path}") for path in files)
    if not (params and summary):
        return None
    partial = not summary_is_current(read_yaml(lock), read_yaml(params))
    return Results(read_yaml(params), {} if partial else json.loads(summary), partial)


def summary_is_current(lock: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Whether the summary in a dvc.lock was computed from the outputs in that dvc.lock, and with `params`."""
    stages = lock.get("stages", {}).values()
    outs = {Path(out["path"]): (out.get("md5", ""), stage) for stage in stages for out in stage.get("outs", ())}
    todo, seen = [paths.SUMMARY], set[Path]()
    while todo:
        out = todo.pop()
        if out in seen or out not in outs:
            continue
        seen.add(out)
        stage = outs[out][1]
        if any(_at(params, key) != value for key, value in stage.get("params", {}).get(str(paths.PARAMS), {}).items()):
            return False
        for dep in stage.get("deps", ()):
            path = Path(dep["path"])
            inner = {each: md5 for each, (md5, _) in outs.items() if each.is_relative_to(path)}
            if inner and not _matches(dep.get("md5", ""), path, inner):
                return False
            todo += [*inner, *(parent for parent in path.parents if parent in outs)]
    return True


def _at(params: Any, key: str) -> Any:
    """The value of a dotted key, or None."""
    for part in key.split("."):
        params = params.get(part) if isinstance(params, Mapping) else None
    return params


def _matches(md5: str, path: Path, outs: Mapping[Path, str]) -> bool:
    """Whether a dep has the hash of the outputs at its path or below it."""
    if path in outs:
        return outs[path] == md5
    if any(inner.endswith(".dir") for inner in outs.values()):
        return True  # a folder of output folders: only DVC's cache lists their files
    return md5 == folder_md5({out.relative_to(path).as_posix(): inner for out, inner in outs.items()})


def folder_md5(files: Mapping[str, str]) -> str:
    """MD5 of a folder from the MD5s of its files by relative path, as DVC 3 computes it."""
    listing = [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
    return f"{hashlib.md5(json.dumps(listing).encode(), usedforsecurity=False).hexdigest()}.dir"


class Experiment(NamedTuple):
    """A finished DVC experiment."""

    baseline: str
    name: str
    revision: str
    committed_s: int


def experiments(root: Path) -> list[Experiment]:
    """All DVC experiments of the repository, on every baseline: git's `refs/exps/<baseline>/<name>`."""
    listed = git(root, "for-each-ref", "--format=%(refname) %(objectname) %(creatordate:unix)", "refs/exps")
    # a baseline's 40 digits are split after the second; DVC keeps its queue and locks under shorter names
    found = re.findall(r"^refs/exps/(\w{2})/(\w{38})/([^/ ]+) (\w+) (\d+)$", listed, re.MULTILINE)
    return [Experiment(one + two, name, revision, int(committed)) for one, two, name, revision, committed in found]
