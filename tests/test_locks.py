"""The runtime lock has all that the library imports, the development lock nothing of it."""

import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from tests.test_architecture import IMPORTS, MODULES, tree
from tools.imports import ROOT, imported_names, nodes


def locked(name: str) -> set[str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in text, "an index address"
    requirements = re.split(r"^(?=\w)", text, flags=re.MULTILINE)[1:]
    assert all("==" in each and "--hash=sha256:" in each for each in requirements)
    return names(requirements)


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(re.split(r"[^\w.-]", requirement)[0]) for requirement in requirements}


RUNTIME, DEVELOPMENT = locked("requirements.lock"), locked("requirements-dev.lock")


def test_no_package_is_locked_twice() -> None:
    assert not RUNTIME & DEVELOPMENT


def test_what_pyproject_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert names(project["project"]["dependencies"]) <= RUNTIME
    assert names(project["dependency-groups"]["dev"]) <= RUNTIME | DEVELOPMENT


def test_the_library_imports_runtime_packages_only() -> None:
    # a single compiled module, which Python 3.11 does not list
    distributions = {**packages_distributions(), "parselmouth": ["praat-parselmouth"]}
    for module in MODULES:
        for node in nodes(tree(module), types_too=False):
            for top in {name.split(".")[0] for name in imported_names(node)} - sys.stdlib_module_names - {"phonoscope"}:
                packages = {canonicalize_name(each) for each in distributions.get(top, [top])}
                assert packages & RUNTIME, f"{IMPORTS.files[module]}: {top}"


def test_make_installs_both_by_hash() -> None:
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"--require-hashes \\\n\s+-r requirements.lock -r requirements-dev.lock\n", recipe)
    assert Path(ROOT / ".ci/run").read_text(encoding="utf-8").rstrip().endswith("make test")
