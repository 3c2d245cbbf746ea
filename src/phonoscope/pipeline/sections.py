"""Checks of the parameters against the registries of the parts, before anything slow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from phonoscope.codecs.registry import check_config
from phonoscope.errors import ParamsError

if TYPE_CHECKING:
    from phonoscope.config.params import Params


def check_codecs(params: Params) -> None:
    """Raise `ParamsError`, naming the key, if a codec of the parameters cannot be made."""
    for name, config in params.codecs.items():
        try:
            check_config(config)
        except ParamsError as error:
            raise ParamsError(f"codecs.{name}.{error}") from error
