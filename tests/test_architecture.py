"""Imports run downwards, and dvc.yaml lists for every stage what its code, parameters and outputs really are."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from dvc.dependency import ParamsDependency
from dvc.repo import Repo
from dvc.stage import PipelineStage

from phonoscope import paths
from phonoscope.cli import SECTIONS
from phonoscope.config.params import load_params

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
BASE = {"errors", "paths", "files", "audio", "compute", "drawing", "events", "shards"}
PLUMBING = {"cli", "commands", "__main__", "params", "paths", "errors", "tracking", "pipeline.base"}
"""In no stage's deps: they decide neither content nor form of an output, and every new parameter touches them."""
UNHASHED = {"compute.workers", "tracking"}
"""Parameters in no stage's params: they change no output."""
PARAMS = load_params(ROOT / paths.PARAMS)


def _modules() -> dict[str, Path]:
    """Every module by its name below `phonoscope`; a package's `__init__` has the package's name."""
    found = {}
    for file in sorted((SOURCE / "phonoscope").rglob("*.py")):
        parts = file.relative_to(SOURCE / "phonoscope").with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


MODULES = _modules()


def _nodes(tree: ast.AST, *, types_too: bool) -> Iterator[ast.AST]:
    """All nodes, with or without what stands under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        hidden = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        if types_too or not hidden:
            yield node
            yield from _nodes(node, types_too=types_too)


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "imports are absolute"
        return [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


@cache
def imported(module: str, *, types_too: bool) -> frozenset[str]:
    """The project's modules that a module imports anywhere in its text, functions included."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    names = {name for node in _nodes(tree, types_too=types_too) for name in _names(node)}
    inside = {name.removeprefix("phonoscope").removeprefix(".") for name in names if name.split(".")[0] == "phonoscope"}
    return frozenset((inside & MODULES.keys()) - {"", module})


def part_of(module: str) -> str:
    return module.split(".")[0]


def is_plumbing(module: str) -> bool:
    return module in PLUMBING or part_of(module) in PLUMBING


def closure(module: str) -> set[str]:
    """What importing and running a module loads of this project, but for the plumbing; packages come with modules."""
    todo, seen = [module], set[str]()
    while todo:
        current = todo.pop()
        if current in seen or is_plumbing(current) or current in ("", "stages"):
            continue
        seen.add(current)
        parts = current.split(".")
        todo += [".".join(parts[:depth]) for depth in range(1, len(parts))]
        todo += imported(current, types_too=False)
    return seen


def level(module: str) -> int:
    """0 base, 1 parts and tracking, 2 params, 3 stages and, beside them, bench, 4 the command line."""
    return {"params": 2, "stages": 3, "bench": 3, "commands": 4, "cli": 5, "__main__": 6}.get(
        part_of(module), 0 if module in BASE else 1
    )


@pytest.mark.parametrize("module", [name for name in MODULES if name])
def test_imports_run_downwards(module: str) -> None:
    for other in imported(module, types_too=True):
        assert level(other) <= level(module), f"{module} imports {other}, which is above it"
        if level(other) == level(module) in (1, 3) and not is_plumbing(other):
            assert part_of(other) == part_of(module), f"{module} imports {other}: what two parts share moves down"


def test_base_modules_do_not_import_each_other_in_a_circle() -> None:
    def reach(module: str) -> set[str]:
        below = imported(module, types_too=True)
        return set(below).union(*(reach(other) for other in below))

    assert all(module not in reach(module) for module in BASE)


@pytest.mark.parametrize("module", [name for name in MODULES if name and level(name) == 1])
def test_a_library_module_knows_no_parameters_paths_or_tracking(module: str) -> None:
    if part_of(module) != "tracking":
        assert not {part_of(other) for other in imported(module, types_too=True)} & {"params", "paths", "tracking"}


def test_params_are_assembled_from_configs_alone() -> None:
    assert all(
        name.endswith(".config") or name in BASE or "." not in name for name in imported("params", types_too=True)
    )
    configs = [name for name in MODULES if name.endswith(".config")]
    assert all(imported(name, types_too=False) <= {"errors"} for name in configs)


def test_only_tracking_knows_mlflow() -> None:
    for module, file in MODULES.items():
        tree = ast.parse(file.read_text(encoding="utf-8"))
        outside = {name.split(".")[0] for node in _nodes(tree, types_too=True) for name in _names(node)}
        assert "mlflow" not in outside or part_of(module) == "tracking"


@cache
def dvc_stages() -> dict[str, PipelineStage]:
    return {stage.addressing: stage for stage in Repo(str(ROOT)).index.stages if isinstance(stage, PipelineStage)}


def kind_and_item(stage: str) -> tuple[str, str | None]:
    kind, _, item = stage.partition("@")
    return kind, item or None


def module_of(kind: str) -> str:
    return f"stages.{kind.replace('-', '_')}"


def is_foreach(kind: str) -> bool:
    """Whether a stage's function takes an item: `run(params, item)`."""
    run = next(
        node
        for node in ast.parse(MODULES[module_of(kind)].read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name == "run"
    )
    return len(run.args.args) > 1


def stage_names() -> list[str]:
    return [
        stage
        for kind in SECTIONS
        for stage in ([f"{kind}@{item}" for item in PARAMS.items(kind)[1]] if is_foreach(kind) else [kind])
    ]


def test_dvc_yaml_has_exactly_the_stages_of_the_command_line() -> None:
    assert sorted(dvc_stages()) == sorted(stage_names())


@pytest.mark.parametrize("stage", stage_names())
def test_deps_cover_the_import_closure(stage: str) -> None:
    kind, _ = kind_and_item(stage)
    deps = {Path(dep.def_path) for dep in dvc_stages()[stage].deps if not isinstance(dep, ParamsDependency)}
    code = {MODULES[module].relative_to(ROOT) for module in closure(module_of(kind))}
    bare = sorted(str(file) for file in code if not {file, *file.parents} & deps)
    assert not bare, f"{stage}: imported, but not in deps"
    listed = {dep for dep in deps if dep.parts[0] == "src"}
    idle = sorted(str(dep) for dep in listed if not any({file, *file.parents} & {dep} for file in code))
    assert not idle, f"{stage}: in deps, but not imported"
    assert Path("requirements.lock") in deps


@pytest.mark.parametrize("stage", stage_names())
def test_params_are_those_of_the_command_line(stage: str) -> None:
    kind, item = kind_and_item(stage)
    listed = [key for dep in dvc_stages()[stage].deps if isinstance(dep, ParamsDependency) for key in dep.params]
    assert sorted(listed) == sorted(section.format(item=item) for section in SECTIONS[kind])


def _keys_read(kind: str) -> set[str]:
    """Parameters that a stage's module reads, from the attribute chains that start at `params`."""
    chains = set()
    for node in ast.walk(ast.parse(MODULES[module_of(kind)].read_text(encoding="utf-8"))):
        names = []
        while isinstance(node, ast.Attribute | ast.Call):
            if isinstance(node, ast.Attribute):
                names.append(node.attr)
            node = node.value if isinstance(node, ast.Attribute) else node.func
        if names and isinstance(node, ast.Name) and node.id == "params":
            chains.add(".".join(reversed(names)))
    longest = {chain for chain in chains if not any(other.startswith(f"{chain}.") for other in chains)}
    methods = {
        "adapt_steps": {"codecs.{item}.adapt_steps", "corpus.source"},
        "compute": {"compute.device", "compute.torch_threads"},
    }
    read = set[str]().union(*(methods.get(chain, {chain}) for chain in longest)) - UNHASHED
    return {re.sub(r"^codec(?=\.|$)", "codecs.{item}", key) for key in read}


@pytest.mark.parametrize("kind", SECTIONS)
def test_a_stage_reads_only_its_own_parameters(kind: str) -> None:
    read = _keys_read(kind)
    bare = sorted(key for key in read if not any(f"{key}.".startswith(f"{section}.") for section in SECTIONS[kind]))
    assert not bare, f"{kind} reads what is not in its params"


def test_workers_and_tracking_make_no_stage_stale() -> None:
    for sections in SECTIONS.values():
        assert not [key for key in sections if key == "compute" or key in UNHASHED]


def _known_paths() -> set[str]:
    known = {value.as_posix() for value in vars(paths).values() if isinstance(value, Path)}
    makers = [value for value in vars(paths).values() if inspect.isfunction(value)]
    names = [*SECTIONS, *(item for kind in SECTIONS for item in PARAMS.items(kind)[1])]
    return known | {make(name).as_posix() for make in makers for name in names}


@pytest.mark.parametrize("stage", stage_names())
def test_outputs_live_where_paths_says(stage: str) -> None:
    outs = {out.def_path for out in dvc_stages()[stage].outs}
    assert outs
    known = _known_paths()
    assert all(out in known or any(Path(out).is_relative_to(folder) for folder in known) for out in outs)
