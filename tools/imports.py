"""Which modules of the package a module loads, read from the source text."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "phonoscope"
PLUMBING = (
    "cli",
    "commands",
    "__main__",
    "config.params",
    "config.section",
    "paths",
    "errors",
    "tracking",
    "pipeline.base",
    "pipeline.integrity",
    "pipeline.runner",
)
"""Modules and packages that decide neither content nor form of an output. In no stage's deps: every new parameter
touches them."""
BARE = ("config", "pipeline")  # packages whose `__init__` is a docstring


class Imports:
    """The import graph of one package; modules are named without the package's own name."""

    def __init__(self, package: Path = PACKAGE) -> None:
        self.package = package
        self.files = {_name(package, file): file for file in sorted(package.rglob("*.py"))}
        """Every module's file; a package's `__init__` has the package's name, the root's the empty name."""
        self.direct = cache(self._direct)

    def _direct(self, module: str, *, types_too: bool = False) -> frozenset[str]:
        """Modules that `module` imports anywhere in its text, functions included.

        types_too: count imports under `if TYPE_CHECKING:` as well.
        """
        tree = ast.parse(self.files[module].read_text(encoding="utf-8"))
        inside = self._named(nodes(tree, types_too=types_too))
        if "pkgutil" in inside:  # a registry, which imports every module of a package
            listed = self._listed_package(module, tree)
            inside |= {other for other in self.files if other.startswith(f"{listed}.")}
        return frozenset((inside & self.files.keys()) - {"", module})

    def _listed_package(self, module: str, tree: ast.Module) -> str:
        """The package `name` whose `name.__path__` a registry lists; its own one if it says so in another way."""
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr == "__path__" and isinstance(node.value, ast.Name):
                called = f".{node.value.id}"
                return next(
                    name for name in self.files if f".{name}".endswith(called) and name in self._named(ast.walk(tree))
                )
        return module if self.files[module].name == "__init__.py" else module.rpartition(".")[0]

    def _named(self, statements: Iterable[ast.AST]) -> set[str]:
        """Names that import statements name, without the package's own."""
        names = {name for node in statements for name in imported_names(node)}
        return {name.removeprefix(f"{self.package.name}.") for name in names}

    def closure(self, module: str) -> set[str]:
        """`module`, what it loads, and what that loads, without the plumbing. A module loads the packages above it."""
        todo, seen = [module], set[str]()
        while todo:
            current = todo.pop()
            if not current or current in seen or current in BARE or is_plumbing(current):
                continue
            seen.add(current)
            todo += [current.rpartition(".")[0], *self.direct(current)]
        return seen

    def covering(self, modules: set[str]) -> list[Path]:
        """The files of `modules`; a package as its folder where all of it is meant, or it holds data files itself."""
        wanted = {self.files[module] for module in modules}
        paths = set[Path]()
        for file in wanted:
            folder = next((each for each in reversed(self._folders(file)) if self._is_whole(each, wanted)), None)
            paths.add(folder or file)
        return sorted(paths)

    def _folders(self, file: Path) -> list[Path]:
        """The folders of a file within the package, the innermost first."""
        return [folder for folder in file.parents if folder.is_relative_to(self.package) and folder != self.package]

    def _is_whole(self, folder: Path, wanted: set[Path]) -> bool:
        files = [file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
        code = {file for file in files if file.suffix == ".py"}
        packages = {file.parent for file in code if file.name == "__init__.py"}
        owners = {next((each for each in file.parents if each in packages), None) for file in set(files) - code}
        return code <= wanted or (folder in owners and folder / "__init__.py" in wanted)


def is_plumbing(module: str) -> bool:
    """Whether a module is listed in `PLUMBING`, or lies in a package that is."""
    return any(f"{module}.".startswith(f"{name}.") for name in PLUMBING)


def _name(package: Path, file: Path) -> str:
    parts = file.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def nodes(tree: ast.AST, *, types_too: bool) -> Iterator[ast.AST]:
    """All nodes below `tree`, with or without those under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        hidden = isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        if types_too or not hidden:
            yield node
            yield from nodes(node, types_too=types_too)


def imported_names(node: ast.AST) -> list[str]:
    """The modules, and names in modules, that a statement imports. Raises `ValueError` for a relative import."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        if node.level:
            raise ValueError("imports are absolute")
        return [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []
