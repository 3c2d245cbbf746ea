"""The inputs of a stage: checked before it starts, and blamed if it fails on them.

DVC compares the inputs of a stage that it runs. A stage run by hand would stop half way, or take a cut table for the
whole. Library messages say what is wrong with the data; this module adds the stage to run.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from phonoscope import paths
from phonoscope.errors import DataError, PhonoscopeError
from phonoscope.pipeline.integrity.contents import check_content, check_whole, contents

PIPELINE = Path("dvc.yaml")
OF_THE_FILE = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
"""System errors that an input can cause (Arrow's carry no number); the others are the machine's."""


@dataclass(frozen=True)
class Input:
    """A file or folder that a stage reads, and the stage that writes it."""

    path: Path
    writer: str

    def refusal(self, path: Path, reason: str) -> DataError:
        """The error for a file of this input."""
        return DataError(f"{path.as_posix()}: {reason}; run `dvc repro {self.writer}`")


def stage_inputs(stage: str, params: Mapping[str, Any], pipeline: Path = PIPELINE) -> list[Input]:
    """The outputs of other stages that `stage`, such as `probe@dac`, reads by dvc.yaml; none if it is not in there.

    Raises: `DataError` if dvc.yaml cannot be read.
    """
    entries = resolve(pipeline, params) if pipeline.is_file() else {}
    if stage not in entries:
        return []
    outs = [(Path(out), name) for name, entry in entries.items() for out in _names(entry, "outs", "plots", "metrics")]
    inputs = []
    for dep in map(Path, _names(entries[stage], "deps")):
        inputs += [Input(dep, name) for out, name in outs if dep.is_relative_to(out)]
        inputs += [Input(out, name) for out, name in outs if out != dep and out.is_relative_to(dep)]
    return inputs


def resolve(pipeline: Path, params: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every stage of a dvc.yaml by its address, templates filled in by DVC itself. Raises `DataError`.

    `params` win over the params.yaml beside it. Takes 0.4 s; `Repo.index`, which also reads dvc.lock and git, 1.1 s.
    """
    from dvc.exceptions import DvcException
    from dvc.fs import localfs
    from dvc.parsing import DataResolver
    from dvc.parsing.context import Context
    from dvc.utils.serialize import load_yaml

    repository: Any = SimpleNamespace(fs=localfs, config={})  # the two things that the resolver takes from it
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
            if reason := _why_unfit(path):
                raise given.refusal(path, reason)


def _why_unfit(path: Path) -> str | None:
    try:
        if reason := check_whole(path):
            return reason
        if path.name in READERS:
            READERS[path.name](path)
    except ImportError:  # a missing package is no fault of the file
        raise
    except DataError as error:
        return str(error).removeprefix(f"{path}: ")
    except Exception as error:  # readers fail on damaged bytes in unforeseen ways
        if isinstance(error, OSError) and error.errno not in OF_THE_FILE:
            raise
        return f"cannot be read ({type(error).__name__}: {error})"
    return None


def _manifest(path: Path) -> None:
    from phonoscope.data import Manifest
    from phonoscope.data.manifest import manifest_schema

    manifest = Manifest.load(path)
    if missing := [name for name in manifest_schema().names if name not in manifest.table]:
        raise DataError(f"no column {', '.join(missing)}")


def _split(path: Path) -> None:
    from phonoscope.data import Split

    split = Split.load(path)
    if not (split.train and split.eval):
        raise DataError(f"no utterances in {'eval' if split.train else 'train'}")


def _codebooks(path: Path) -> None:
    from phonoscope.data import Codebooks

    Codebooks.load(path)


def _tokens(path: Path) -> None:
    """A token table and the codebooks beside it; damaged codebooks are refused as themselves."""
    from phonoscope.data import Codebooks, Tokens

    codebooks = path.with_name(paths.codebooks("").name)
    if codebooks.exists() and not check_whole(codebooks):
        Tokens.load(path, Codebooks.load(codebooks).sizes).validate()


READERS: dict[str, Callable[[Path], None]] = {
    paths.MANIFEST.name: _manifest,
    paths.SPLIT.name: _split,
    paths.codebooks("").name: _codebooks,
    paths.tokens("").name: _tokens,
}
"""By a file's name: read it with the checks of its noun."""


@contextmanager
def blaming(inputs: Sequence[Input]) -> Iterator[None]:
    """Add to a failure of a stage which input is the cause, and the stage to run.

    A `DataError` keeps its words. Any other failure becomes a `DataError` where an input is not as it was written. An
    error of the machine (a full disk) and a failure on sound inputs pass as they are.
    """
    try:
        yield
    except DataError as error:
        completed = _completed(error, inputs)
        if completed is None:
            raise
        raise completed from error
    except PhonoscopeError:
        raise
    except Exception as error:
        cause = None if isinstance(error, OSError) and error.errno not in OF_THE_FILE else _unsound(inputs)
        if cause is None:
            raise
        raise DataError(f"{cause} ({type(error).__name__}: {error})") from error


def _completed(error: DataError, inputs: Sequence[Input]) -> DataError | None:
    """The error with the stage to run, or with the unsound input; None if there is nothing to add."""
    message = str(error).rstrip(".")
    named = [given for given in inputs if given.path.as_posix() in message]
    if named:
        return None if "dvc repro" in message else DataError(f"{message}; run `dvc repro {named[0].writer}`")
    cause = _unsound(inputs)
    return DataError(f"{message} ({cause})") if cause else None


def _unsound(inputs: Sequence[Input]) -> DataError | None:
    """The refusal of the first input that cannot be read to its end, or differs from dvc.lock."""
    from phonoscope.pipeline.integrity.hashes import check_output, locked_outputs

    for given in inputs:
        for path in contents(given.path):
            if reason := check_content(path):
                return given.refusal(path, reason)
    try:
        locked = locked_outputs(Path())
    except DataError:  # without a dvc.lock there is nothing to compare with
        return None
    for given in inputs:
        for output in locked.outputs:
            if output.stage == given.writer and given.path.is_relative_to(output.path):
                for fault in check_output(Path(), output, locked.cache):
                    if Path(fault.path).is_relative_to(given.path):
                        return given.refusal(Path(fault.path), fault.reason)
    return None
