"""The inputs of a stage: checked before it starts, and checked again for the cause if it fails.

A stage run by hand, without DVC's checks, would stop half way or read a cut table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dvc.exceptions import DvcException
from dvc.fs import localfs
from dvc.parsing import DataResolver
from dvc.parsing.context import Context
from dvc.utils.serialize import load_yaml

from phonoscope import paths
from phonoscope.data import Codebooks, Manifest, Split, Tokens
from phonoscope.errors import DataError, PhonoscopeError
from phonoscope.pipeline.integrity.contents import check_content, check_whole, contents, of_the_machine, refusal
from phonoscope.pipeline.integrity.hashes import check_output, locked_outputs

PIPELINE = Path("dvc.yaml")


@dataclass(frozen=True)
class Input:
    """A file or folder that a stage reads, and the stage that writes it."""

    path: Path
    writer: str

    def refusal(self, path: Path, reason: str) -> DataError:
        return DataError(f"{path.as_posix()}: {reason}; run `dvc repro {self.writer}`")


def stage_inputs(stage: str, params: Mapping[str, Any], pipeline: Path = PIPELINE) -> list[Input]:
    """The outputs of other stages that `stage`, such as `probe@dac`, reads by dvc.yaml. Raises `DataError`."""
    entries = resolve(pipeline, params) if pipeline.is_file() else {}
    if stage not in entries:
        return []
    outs = [(Path(out), name) for name, entry in entries.items() for out in _names(entry, "outs", "plots", "metrics")]
    pairs = [(dep, out, name) for dep in map(Path, _names(entries[stage], "deps")) for out, name in outs]
    return [
        Input(max(dep, out, key=lambda path: len(path.parts)), name)  # the inner one
        for dep, out, name in pairs
        if dep.is_relative_to(out) or out.is_relative_to(dep)
    ]


def stage_outputs(stage: str, params: Mapping[str, Any], pipeline: Path = PIPELINE) -> list[Path]:
    """What `stage`, such as `probe@dac`, writes by dvc.yaml; nothing if it is not there. Raises `DataError`."""
    entries = resolve(pipeline, params) if pipeline.is_file() else {}
    return [Path(out) for out in _names(entries.get(stage, {}), "outs", "plots", "metrics")]


def resolve(pipeline: Path, params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The stages of a dvc.yaml by address, templates filled in by DVC. Raises `DataError`.

    `params` override the params.yaml beside it. Takes 0.4 s; `Repo.index`, which also reads dvc.lock and git, 1.1 s.
    """
    repository: Any = SimpleNamespace(fs=localfs, config={})  # what the resolver reads
    try:
        resolver = DataResolver(repository, str(pipeline.parent), load_yaml(pipeline))
        resolver.context.merge_update(Context(params), overwrite=True)
        return dict(resolver.resolve()["stages"])
    except DvcException as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{pipeline}: {reason}; correct it, or run `git checkout {pipeline}`") from error


def _names(entry: Mapping[str, Any], *sections: str) -> list[str]:
    """Paths of a stage's entry; an out with options is a mapping of one key."""
    listed = [path for section in sections for path in entry.get(section, ())]
    return [next(iter(path)) if isinstance(path, Mapping) else path for path in listed]


def check_inputs(inputs: Iterable[Input]) -> None:
    """Raise `DataError`, naming the file, the reason and the stage to run, if an input is missing or not whole."""
    for given in inputs:
        if not given.path.exists():
            raise given.refusal(given.path, "no such file" if given.path.suffix else "no such folder")
        for path in contents(given.path):
            if reason := check_whole(path) or refusal(_read, path, "not readable", strict=True):
                raise given.refusal(path, reason)


def _read(path: Path) -> None:
    """Read a file whose name says what it is, with all checks of its reader."""
    if path.name == paths.MANIFEST.name:
        Manifest.load(path)
    elif path.name == paths.SPLIT.name:
        if not Split.load(path).eval:
            raise DataError("eval is empty")
    elif path.name == paths.codebooks("").name:
        Codebooks.load(path)
    elif path.name == paths.tokens("").name:
        codebooks = path.with_name(paths.codebooks("").name)
        if codebooks.exists() and not check_whole(codebooks):  # damaged codebooks get their own refusal
            Tokens.load(path, Codebooks.load(codebooks).sizes).validate()


@contextmanager
def naming_bad_inputs(inputs: Sequence[Input]) -> Iterator[None]:
    """Add to a failure of a stage the input that caused it, and the stage to run.

    A `DataError` keeps its words. Another failure becomes a `DataError` if an input is not as it was written. An error
    of the machine, and a failure on sound inputs, are raised unchanged.
    """
    try:
        yield
    except Exception as error:
        message = str(error).rstrip(".")
        if isinstance(error, DataError):
            named = [given.writer for given in inputs if given.path.as_posix() in message]
            if named and "dvc repro" not in message:
                raise DataError(f"{message}; run `dvc repro {named[0]}`") from error
            if not named and (cause := _unsound(inputs)):
                raise DataError(f"{message} ({cause})") from error
        elif not (isinstance(error, PhonoscopeError) or of_the_machine(error)) and (cause := _unsound(inputs)):
            raise DataError(f"{cause} ({type(error).__name__}: {error})") from error
        raise


def _unsound(inputs: Sequence[Input]) -> DataError | None:
    """The refusal of the first input that cannot be read to its end, or differs from dvc.lock."""
    for given in inputs:
        for path in contents(given.path):
            if reason := check_content(path):
                return given.refusal(path, reason)
    try:
        locked = locked_outputs(Path())
    except DataError:  # without a dvc.lock there is nothing to compare with
        return None
    for given, output in product(inputs, locked.outputs):
        if output.stage == given.writer and given.path.is_relative_to(output.path):
            for fault in check_output(Path(), output, locked.cache):
                if Path(fault.path).is_relative_to(given.path):
                    return given.refusal(Path(fault.path), fault.reason)
    return None
