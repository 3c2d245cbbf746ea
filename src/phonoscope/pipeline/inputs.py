"""What a stage takes from other stages, looked at before it starts and again if it fails unforeseen. No DVC stage.

DVC compares the inputs of a stage that it runs; one run by hand would stop half way, or take a cut table for the whole.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from phonoscope import paths
from phonoscope.errors import DataError, PhonoscopeError
from phonoscope.pipeline.integrity.structure import check_structure

PIPELINE = Path("dvc.yaml")
ABSENT = (None, errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
"""System errors that an input can be the cause of (Arrow's carry no number); the others are the machine's."""
_TEMPLATE = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class Input:
    """A file or folder that a stage reads, and the stage that writes it."""

    path: Path
    writer: str

    def refusal(self, path: Path, reason: str) -> DataError:
        return DataError(f"{path.as_posix()}: {reason}; run `dvc repro {self.writer}`")

    def files(self) -> list[Path]:
        return [self.path] if self.path.is_file() else sorted(path for path in self.path.rglob("*") if path.is_file())


def stage_inputs(stage: str, params: Mapping[str, Any], pipeline: Path = PIPELINE) -> list[Input]:
    """What `stage`, such as `probe@dac`, reads of other stages by `dvc.yaml`; nothing where that does not name it.

    Raises: `DataError` if `dvc.yaml` is no YAML.
    """
    stages = _stages(pipeline, params) if pipeline.is_file() else {}
    if stage not in stages:
        return []
    outs = [(Path(out), name) for name, (_, outs) in stages.items() for out in outs]
    found = []
    for dep in map(Path, stages[stage][0]):
        found += [Input(dep, name) for out, name in outs if dep.is_relative_to(out)]
        found += [Input(out, name) for out, name in outs if out != dep and out.is_relative_to(dep)]
    return found


def _stages(pipeline: Path, params: Mapping[str, Any]) -> dict[str, tuple[list[str], list[str]]]:
    """The deps and the outs of every stage, templates filled in."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe").load(pipeline.read_text(encoding="utf-8"))
    except YAMLError as error:
        raise DataError(f"{pipeline}: not readable YAML ({error}); mend it, or `git checkout {pipeline}`") from error
    stages = {}
    for kind, entry in content["stages"].items():
        if "foreach" not in entry:
            stages[kind] = _deps_and_outs(entry, params)
            continue
        listed = entry["foreach"]
        for item in _value(_TEMPLATE.fullmatch(listed), params) if isinstance(listed, str) else listed:
            stages[f"{kind}@{item}"] = _deps_and_outs(entry["do"], {**params, "item": item, "key": item})
    return stages


def _deps_and_outs(entry: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    def filled(*sections: str) -> list[str]:
        listed = [path for section in sections for path in entry.get(section, ())]
        names = [next(iter(path)) if isinstance(path, Mapping) else path for path in listed]
        return [_TEMPLATE.sub(lambda match: str(_value(match, values)), name) for name in names]

    return filled("deps"), filled("outs", "plots", "metrics")


def _value(template: re.Match[str] | None, values: Any) -> Any:
    assert template is not None
    for key in template[1].split("."):
        values = values[key]
    return values


def check_inputs(inputs: Iterable[Input]) -> None:
    """Raise `DataError`, naming the file, the reason and the stage to run, if an input is missing or not whole."""
    for given in inputs:
        if not given.path.exists():
            raise given.refusal(given.path, "no such file" if given.path.suffix else "no such folder")
        for path in given.files():
            if reason := _reason(path):
                raise given.refusal(path, reason)


def _reason(path: Path) -> str | None:
    try:
        return check_structure(path) or FITTING.get(path.name, _fits)(path)
    except ImportError:  # a missing package is no fault of the file
        raise
    except Exception as error:  # damaged bytes fail in a reader's depths, in as many ways as there are readers
        if isinstance(error, OSError) and error.errno not in ABSENT:
            raise
        return f"cannot be read ({type(error).__name__}: {error})"


def _fits(path: Path) -> str | None:
    return None


def _manifest(path: Path) -> str | None:
    import pyarrow.parquet as pq

    from phonoscope.corpus.build import manifest_schema

    there = pq.read_schema(path).names
    missing = [name for name in manifest_schema().names if name not in there]
    return f"no column {', '.join(missing)}" if missing else None


def _split(path: Path) -> str | None:
    split = json.loads(path.read_text(encoding="utf-8"))
    missing = [name for name in ("train", "eval") if not (isinstance(split, dict) and split.get(name))]
    return f"no utterances in {' and '.join(missing)}" if missing else None


def _codebooks(path: Path) -> str | None:
    shapes = _layer_shapes(path)
    if not shapes:
        return "no tensor layer_1"
    odd = [(layer, shape) for layer, shape in enumerate(shapes, start=1) if shape != shapes[0]]
    return f"layer_{odd[0][0]} has the shape {odd[0][1]}, layer_1 {shapes[0]}" if odd else None


def _tokens(path: Path) -> str | None:
    """Whether a token table fits the codebooks beside it; those are checked by themselves."""
    from phonoscope.pipeline.integrity.consistency import check_codes

    codebooks = path.with_name(paths.codebooks("").name)
    if not codebooks.exists() or check_structure(codebooks):
        return None
    return next(check_codes(path, [shape[0] for shape in _layer_shapes(codebooks)]), None)


def _layer_shapes(codebooks: Path) -> list[tuple[int, ...]]:
    from safetensors import safe_open

    with safe_open(codebooks, framework="np") as file:
        names = set(file.keys())
        layers = range(1, 1 + sum(name.startswith("layer_") for name in names))
        return [tuple(file.get_slice(f"layer_{n}").get_shape()) for n in layers if f"layer_{n}" in names]


FITTING: dict[str, Callable[[Path], str | None]] = {
    paths.MANIFEST.name: _manifest,
    paths.SPLIT.name: _split,
    paths.codebooks("").name: _codebooks,
    paths.tokens("").name: _tokens,
}
"""By a file's name, whether what is inside fits: columns, shapes, codes."""


@contextmanager
def blamed(inputs: Sequence[Input]) -> Iterator[None]:
    """Where a stage fails in a way that it did not foresee, raise `DataError` for the input that is not as it was made.

    A refusal keeps its words, and is given the file or the stage to run if it names none. An error of the machine (a
    full disk) and a failure on sound inputs pass as they are.
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
        refusal = None if isinstance(error, OSError) and error.errno not in ABSENT else _unsound(inputs)
        if refusal is None:
            raise
        raise DataError(f"{refusal} ({type(error).__name__}: {error})") from error


def _completed(error: DataError, inputs: Sequence[Input]) -> DataError | None:
    """The refusal with what it lacks, the stage to run or the input that it is about; None if it lacks nothing."""
    said = str(error).rstrip(".")
    named = [given for given in inputs if given.path.as_posix() in said]
    if named and "dvc repro" not in said:
        return DataError(f"{said}; run `dvc repro {named[0].writer}`")
    refusal = None if named else _unsound(inputs)
    return DataError(f"{said} ({refusal})") if refusal else None


def _unsound(inputs: Sequence[Input]) -> DataError | None:
    """The refusal of the first input that cannot be read to its end, or is not what dvc.lock has."""
    from phonoscope.commands.verify import UNVOICED, locked_outputs
    from phonoscope.pipeline.integrity.contents import check_content
    from phonoscope.pipeline.integrity.hashes import check_output

    for given in inputs:
        for path in given.files():
            if reason := check_content(path, UNVOICED):
                return given.refusal(path, reason)
    try:
        outputs, _, cache, _ = locked_outputs(Path())
    except DataError:  # without a dvc.lock there is nothing to compare with
        return None
    for given in inputs:
        for output in outputs:
            if output.stage == given.writer and given.path.is_relative_to(output.path):
                for fault in check_output(Path(), output, cache):
                    if Path(fault.path).is_relative_to(given.path):
                        return given.refusal(Path(fault.path), fault.reason)
    return None
