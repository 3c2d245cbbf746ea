"""Imports run downwards, a library module knows no pipeline, and dvc.yaml says what the code says."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeGuard

import pytest
from dvc.repo import Repo
from dvc.stage import PipelineStage
from pydantic import BaseModel

from phonoscope import paths
from phonoscope.config.params import Params, load_params
from phonoscope.config.section import Section
from phonoscope.pipeline.base import stages
from tools.imports import ROOT, Imports, imported_names, nodes
from tools.write_pipeline import written

IMPORTS = Imports()
MODULES = [name for name in IMPORTS.files if name]
BASE = {"errors", "paths", "files", "audio", "compute", "stats", "drawing", "shards", "ema", "events", "config", "data"}
PARTS = {"corpus", "alignment", "codecs", "whisper", "probes", "geometry", "sae", "vq", "encoders"}
STUDIES = {"causal", "studies", "report"}  # they join parts
LEVELS = {"tracking": 1, "pipeline": 3, "commands": 4, "cli": 5, "__main__": 6}
LONGEST_STAGE = 60
UNHASHED = {"compute.workers", "tracking", "sae.checkpoint_every"}  # in no stage's params: they change no output
PARAMS = load_params(ROOT / paths.PARAMS)


def part_of(module: str) -> str:
    return module.split(".")[0]


def level(module: str) -> int:
    """0 base, 1 parts and tracking, 2 what joins parts, 3 the pipeline, then the commands."""
    part = part_of(module)
    return 0 if part in BASE else 2 if part in STUDIES else LEVELS.get(part, 1)


def is_library(module: str) -> bool:
    """Whether a module works without a pipeline; configs name their keys, of course."""
    return level(module) < 3 and part_of(module) not in ("config", "tracking", "paths")


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(IMPORTS.files[module].read_text(encoding="utf-8"))


def test_every_module_has_its_place() -> None:
    assert {part_of(module) for module in MODULES} <= BASE | PARTS | STUDIES | LEVELS.keys()


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards(module: str) -> None:
    for other in IMPORTS.direct(module, types_too=True):
        assert level(other) <= level(module), f"{module} imports {other}, which is above it"
        if level(other) == level(module) == 1:
            assert part_of(other) == part_of(module), f"{module} imports {other}: what two parts share moves down"


@pytest.mark.parametrize("module", [name for name in MODULES if is_library(name)])
def test_a_library_module_knows_no_pipeline(module: str) -> None:
    """No parameters' file, no artifact's place, no DVC, no MLflow, and no message that names them."""
    assert not IMPORTS.direct(module, types_too=True) & {"config.params", "paths"} or module == "shards"
    outside = {name.split(".")[0] for node in nodes(tree(module), types_too=True) for name in imported_names(node)}
    assert not outside & {"dvc", "mlflow"}
    for line, text in _messages(module):
        said = [word for word in ("dvc repro", "dvc.yaml", "params.yaml") if word in text]
        said += re.findall(rf"(?<![\w./])(?:{'|'.join(map(re.escape, _keys(Params, '')))})(?![\w])", text)
        assert not said, f"{module}, line {line}: {said[0]!r} is the pipeline's word"


def _messages(module: str) -> Iterator[tuple[int, str]]:
    """The string literals of a module, without its docstrings."""
    documented = {id(node.value) for node in ast.walk(tree(module)) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.lineno, node.value


def _keys(section: type[BaseModel], prefix: str) -> list[str]:
    """The dotted keys of params.yaml, such as `corpus.root`."""
    keys = []
    for name, field in section.model_fields.items():
        if _is_model(field.annotation):
            keys += _keys(field.annotation, f"{prefix}{name}.")
        elif prefix:
            keys.append(f"{prefix}{name}")
    return keys


def _is_model(kind: object) -> TypeGuard[type[BaseModel]]:
    return inspect.isclass(kind) and issubclass(kind, BaseModel)


def test_only_tracking_knows_mlflow_and_only_the_pipeline_dvc() -> None:
    for module in MODULES:
        outside = {name.split(".")[0] for node in nodes(tree(module), types_too=True) for name in imported_names(node)}
        assert "mlflow" not in outside or part_of(module) == "tracking"
        assert "dvc" not in outside or part_of(module) in ("pipeline", "commands")


def test_every_section_of_params_stands_on_one_base() -> None:
    for module in (module for module in MODULES if part_of(module) == "config"):
        for value in vars(importlib.import_module(f"phonoscope.{module}")).values():
            if _is_model(value) and value.__module__.startswith("phonoscope"):
                assert issubclass(value, Section), value


@pytest.mark.parametrize("package", [name for name, file in IMPORTS.files.items() if file.name == "__init__.py"])
def test_a_package_imports_plainly_what_it_offers(package: str) -> None:
    """A docstring, imports, `__all__`; and nothing that hides what an import loads."""
    docstring, *body = tree(package).body
    assert isinstance(docstring, ast.Expr), "no docstring"
    offered: list[str] = []
    for node in body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            offered = ast.literal_eval(node.value)
        assert isinstance(node, ast.Import | ast.ImportFrom | ast.Assign), f"line {node.lineno}: no plain import"
    assert not [name for name in offered if name.startswith("_")]


@cache
def dvc_stages() -> dict[str, PipelineStage]:
    return {stage.addressing: stage for stage in Repo(str(ROOT)).index.stages if isinstance(stage, PipelineStage)}


def stage_names() -> list[str]:
    items = {name: stage.items(PARAMS) for name, stage in stages().items()}
    return [address for name in items for address in ([f"{name}@{item}" for item in items[name]] or [name])]


def test_dvc_yaml_is_what_the_code_says() -> None:
    text = (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert written(text, stages(), PARAMS, IMPORTS) == text, "run `make pipeline`"


def test_dvc_runs_every_stage_for_every_item() -> None:
    assert sorted(dvc_stages()) == sorted(stage_names())


@pytest.mark.parametrize("name", stages())
def test_a_stage_reads_inputs_calls_the_library_and_writes(name: str) -> None:
    lines = IMPORTS.files[stages()[name].module.partition(".")[2]].read_text(encoding="utf-8").count("\n")
    assert lines <= LONGEST_STAGE


def _keys_read(module: str) -> set[str]:
    """Parameters that a stage's module reads: attribute chains from `params`, or from a local name for a part of it."""
    names, walked = {"params": ""}, list(ast.walk(tree(module)))
    aliased: set[ast.AST] = set()
    for node in walked:
        if isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            together = isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple)
            pairs = zip(target.elts, value.elts, strict=True) if together else [(target, value)]
            for name, part in pairs:
                if isinstance(name, ast.Name) and isinstance(part, ast.Attribute) and _chain(part)[:1] == ["params"]:
                    names[name.id] = ".".join(_chain(part)[1:])
                    aliased.add(part)
    inner = {node.value for node in walked if isinstance(node, ast.Attribute)}
    inner |= {node.func for node in walked if isinstance(node, ast.Call)}
    read_nodes = [node for node in walked if isinstance(getattr(node, "ctx", ast.Load()), ast.Load)]
    chains = [_chain(node) for node in read_nodes if node not in inner | aliased]
    read = {".".join(filter(None, [names[chain[0]], *chain[1:]])) for chain in chains if chain and chain[0] in names}
    return {re.sub(r"^codec(?=\.|$)", "codecs.{item}", key) for key in read - {""}}


def _chain(node: ast.AST) -> list[str]:
    """`a.b().c` as a, b, c; empty for other expressions."""
    parts = []
    while isinstance(node, ast.Attribute | ast.Call):
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
        node = node.value if isinstance(node, ast.Attribute) else node.func
    named = [part for part in reversed(parts) if not part.startswith("model_")]
    return [node.id, *named] if isinstance(node, ast.Name) else []


def _leaves(key: str) -> list[str]:
    """A parameter, or all parameters of a section."""
    section: type[BaseModel] = Params
    for part in key.split("."):
        kind = section.model_fields[part].annotation if part in section.model_fields else None
        if not _is_model(kind):
            return [key]
        section = kind
    return _keys(section, f"{key}.")


@pytest.mark.parametrize("name", stages())
def test_a_stage_reads_only_its_own_parameters(name: str) -> None:
    stage = stages()[name]
    methods = {"adapt_steps": ["codecs.{item}.adapt_steps", "corpus.source"]}
    read = [each for key in _keys_read(stage.module.partition(".")[2]) for each in methods.get(key, [key])]
    leaves = {leaf for key in read for leaf in _leaves(key)} - UNHASHED - {stage.per}
    bare = sorted(leaf for leaf in leaves if not any(f"{leaf}.".startswith(f"{key}.") for key in stage.params))
    assert not bare, f"{name} reads what is not in its params"
    assert not [key for key in stage.params if key == "compute" or key in UNHASHED], "changes no output"


def _artifacts(module: str) -> dict[str, str]:
    """The artifacts that a stage and the helpers it imports name, by their name in `paths`; up to the item in them."""
    parts = [part for part in IMPORTS.closure(module) if part_of(part) == "pipeline"]
    used = {name.split(".")[-1] for part in parts for node in ast.walk(tree(part)) for name in imported_names(node)}
    named = {}
    for part in parts:
        for definition in tree(part).body:
            called = getattr(definition, "name", "_")
            if part != module and called not in used and called[0] != "_":  # a helper's function for other stages
                continue
            for node in ast.walk(definition):
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "paths":
                    value = getattr(paths, node.attr)
                    place = value if isinstance(value, Path) else value("*")
                    named[node.attr] = place.as_posix().partition("*")[0]
    return {name: path for name, path in named.items() if not path.startswith(paths.STATE.as_posix())}


@pytest.mark.parametrize("name", stages())
def test_a_stage_names_only_artifacts_that_it_depends_on_or_writes(name: str) -> None:
    stage = next(each for address, each in dvc_stages().items() if address.partition("@")[0] == name)
    listed = [Path(item.def_path).as_posix() for item in (*stage.deps, *stage.outs)]
    bare = {
        called: path
        for called, path in _artifacts(stages()[name].module.partition(".")[2]).items()
        if not any(each.startswith(path) or Path(path).is_relative_to(each) for each in listed)
    }
    assert not bare, f"{name} reads or writes what dvc.yaml does not list for it"
