"""Keys of params.yaml for refusals of the library, which does not know them; choices checked before anything slow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from phonoscope.errors import DataError, ParamsError, TooManyRejected

if TYPE_CHECKING:
    from phonoscope.config.params import Params


def check_choices(params: Params) -> None:
    """Raise `ParamsError`, naming the key, for a corpus source that does not exist or a codec that cannot be made."""
    from phonoscope.codecs.registry import check_config
    from phonoscope.corpus.registry import check_source

    try:
        check_source(params.corpus.source)
    except ParamsError as error:
        raise ParamsError(f"corpus.source: {error}") from error
    for name, config in params.codecs.items():
        try:
            check_config(config)
        except ParamsError as error:
            raise ParamsError(f"codecs.{name}.{error}") from error


@contextmanager
def limited_rejections() -> Iterator[None]:
    """Add the key of params.yaml to a refusal of too many unusable utterances."""
    try:
        yield
    except TooManyRejected as error:
        raise DataError(f"{error} (corpus.max_rejected)") from error
