"""Adds keys of params.yaml to refusals of the library, which does not know them; checks choices before slow work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from phonoscope.config.params import Params
from phonoscope.errors import DataError, ParamsError, TooManyRejected


def check_choices(params: Params) -> None:
    """Raise `ParamsError` with the key for an unknown corpus source, or a codec that cannot be built."""
    from phonoscope.codecs.registry import check_config
    from phonoscope.corpus.registry import check_source

    with named_parameters("corpus"):
        check_source(params.corpus.source)
    for name, config in params.codecs.items():
        with named_parameters(f"codecs.{name}"):
            check_config(config)


@contextmanager
def named_parameters(section: str) -> Iterator[None]:
    """Add the key of params.yaml to refusals of a section's fields, and of too many unusable utterances."""
    try:
        yield
    except ParamsError as error:
        raise ParamsError(f"{section}.{error}") from error
    except TooManyRejected as error:
        raise DataError(f"{error} (corpus.max_rejected)") from error
