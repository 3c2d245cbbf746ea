"""A stage of the pipeline: its declaration, and the report that it returns; and all stages."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, reduce
from pathlib import Path
from typing import Any, TypeVar

from phonoscope import pipeline
from phonoscope.config.params import Params, check_name
from phonoscope.errors import DataError, ParamsError, TooManyRejected
from phonoscope.files import write_csv

Run = TypeVar("Run", bound="Callable[..., StageReport]")
REGISTRY: dict[str, Stage] = {}
"""Every stage whose module is imported; `stages` imports them all."""


@dataclass(frozen=True)
class StageReport:
    """A stage's results for MLflow: scalars, one value per RVQ layer or per epoch, and the figures it has written."""

    metrics: dict[str, float] = field(default_factory=dict)
    by_layer: dict[str, list[float]] = field(default_factory=dict)
    by_epoch: dict[str, list[float]] = field(default_factory=dict)
    figures: list[Path] = field(default_factory=list)
    not_applicable: dict[str, str] = field(default_factory=dict)
    """Stages that the corpus cannot feed, with the reasons: the stage itself, or for `summary` all of them."""

    def saved(self, path: Path) -> StageReport:
        """This report, its scalars written to a CSV: metric, value."""
        import pandas as pd

        write_csv(path, pd.Series(self.metrics, dtype=float).rename_axis("metric").reset_index(name="value"))
        return self


@dataclass(frozen=True)
class Stage:
    """A stage as its module declares it."""

    name: str
    """The command, and the stage's name in dvc.yaml."""
    params: tuple[str, ...]
    """Keys of params.yaml that the outputs depend on; `{item}` stands for the item."""
    per: str | tuple[str, ...] | None
    """The stage runs once for each entry of a key of params.yaml, or for each fixed name; None: a single run."""
    folders: Callable[[Params], Iterable[str]]
    """Keys of params.yaml whose folders must exist."""
    run: Callable[..., StageReport]
    """`run(params)`, or `run(params, item)` where the stage has items. Raises `NotApplicable` to step aside."""
    reads_what_is_there: bool = False
    """The stage runs although one that it reads stepped aside; other stages then step aside for the same reason."""

    @property
    def module(self) -> str:
        return self.run.__module__

    @property
    def desc(self) -> str:
        """One line for `--help` and dvc.yaml: what the module's docstring says after the stage's name."""
        text = (sys.modules[self.module].__doc__ or "").partition(": ")[2].removesuffix(".")
        return text[:1].upper() + text[1:]

    def items(self, params: Params) -> list[str]:
        return list(params.at(self.per) if isinstance(self.per, str) else self.per or ())

    def keys(self, item: str | None = None) -> list[str]:
        return [key.format(item=item) for key in self.params]

    def values(self, params: Params, item: str | None = None) -> dict[str, Any]:
        """The parameters of one run with their values, nested as in params.yaml."""
        chosen = dict[str, Any]()
        for key in self.keys(item):
            *parents, leaf = key.split(".")
            reduce(lambda inner, part: inner.setdefault(part, {}), parents, chosen)[leaf] = True
        return params.model_dump(mode="json", include=chosen)

    def check(self, params: Params, item: str | None = None) -> None:
        """Raise `ParamsError` for an item that the stage does not run for, or a folder that is missing."""
        if item is not None:
            check_name(self.per if isinstance(self.per, str) else self.name, item, self.items(params))
        for key in self.folders(params):
            folder = params.at(key)
            if not Path(folder).is_dir():
                raise ParamsError(f"{key}: {folder!r} is not a folder; give the absolute path of one that exists")


def stage(
    name: str,
    *,
    params: Sequence[str],
    per: str | Sequence[str] | None = None,
    folders: Callable[[Params], Iterable[str]] = lambda params: (),
    reads_what_is_there: bool = False,
) -> Callable[[Run], Run]:
    """Register a function as a stage. Raises `ValueError` if the name is taken."""

    def register(run: Run) -> Run:
        if name in REGISTRY:
            raise ValueError(f"stage {name!r} is declared twice: in {REGISTRY[name].module} and {run.__module__}")
        entries = per if per is None or isinstance(per, str) else tuple(per)
        REGISTRY[name] = Stage(name, tuple(params), entries, folders, run, reads_what_is_there)
        return run

    return register


@cache
def stages() -> dict[str, Stage]:
    """Every stage by its name. Imports all modules of `phonoscope.pipeline`, which therefore import little."""
    for module in pkgutil.iter_modules(pipeline.__path__):
        importlib.import_module(f"{pipeline.__name__}.{module.name}")
    return dict(sorted(REGISTRY.items()))


@contextmanager
def named_parameters(section: str) -> Iterator[None]:
    """Add the key of params.yaml to refusals of the library, which does not know it, in a section's work."""
    try:
        yield
    except ParamsError as error:
        raise ParamsError(f"{section}.{error}") from error
    except TooManyRejected as error:
        raise DataError(f"{error} (corpus.max_rejected)") from error
