"""All stages of the pipeline: every module of this package that declares one."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from phonoscope import pipeline
from phonoscope.pipeline.base import REGISTRY, Stage


@cache
def stages() -> dict[str, Stage]:
    """Every stage by its name. Imports all modules of `phonoscope.pipeline`, which therefore import little."""
    for module in pkgutil.iter_modules(pipeline.__path__):
        importlib.import_module(f"{pipeline.__name__}.{module.name}")
    return dict(sorted(REGISTRY.items()))
