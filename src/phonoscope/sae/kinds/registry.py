"""Registry of the kinds: every file of this folder registers one class under a name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from pydantic import ValidationError

from phonoscope.errors import ParamsError, nearest
from phonoscope.sae.kinds.base import Kind

_KINDS: dict[str, type[Kind]] = {}


def register(name: str) -> Callable[[type[Kind]], type[Kind]]:
    """Class decorator: make a kind known by a name. Raises `ValueError` if the name is taken."""

    def add(kind: type[Kind]) -> type[Kind]:
        if name in _KINDS:
            raise ValueError(f"kind {name!r} is registered already, by {_KINDS[name].__module__}")
        _KINDS[name] = kind
        return kind

    return add


def kinds() -> dict[str, type[Kind]]:
    """All kinds by name: those of this folder and those registered elsewhere."""
    package = __name__.rpartition(".")[0]
    for module in iter_modules(import_module(package).__path__):
        import_module(f"{package}.{module.name}")
    return dict(sorted(_KINDS.items()))


def build_kind(name: str, options: Mapping[str, Any]) -> Kind:
    """A kind with its options. Raises `ParamsError` for an unknown kind, naming the nearest, or a wrong option."""
    known = kinds()
    if name not in known:
        raise ParamsError(f"kind: no kind of sparse autoencoder is called {name!r}; {nearest(name, known)}")
    try:
        return known[name].model_validate_json(json.dumps(dict(options)), strict=True)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'options'}: {fault['msg']}" for fault in error.errors()]
        fields = ", ".join(known[name].model_fields) or "no options"
        raise ParamsError(f"options: of kind {name!r}: {'; '.join(faults)}; the kind has {fields}") from error
