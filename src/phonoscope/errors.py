"""Errors that a user can act on, with exit codes. A message names the file or the argument, and the reason."""

import difflib
from collections.abc import Iterable


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a refusal of `name`: the one of `names` that is meant, or all of them if none is near."""
    known = list(names)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"


class PhonoscopeError(Exception):
    """Base of all errors that a user can act on. Printed as one line; `--debug` adds the traceback."""

    exit_code = 1


class CheckFailed(PhonoscopeError):
    """A check such as `verify` or `doctor` has findings."""


class ParamsError(PhonoscopeError):
    """A parameter or an argument is unknown, of the wrong type or impossible."""

    exit_code = 2


class DataError(PhonoscopeError):
    """Input data (audio, alignments, checkpoints, artifacts) cannot be used."""

    exit_code = 4


class NotApplicable(DataError):
    """The corpus lacks what a stage needs, such as isolated words: in the pipeline the stage steps aside."""


class TooManyRejected(DataError):
    """More utterances cannot be used than the caller allows."""


class EnvironmentFault(PhonoscopeError):
    """The machine lacks something: a package, the network, disk space, a required tracking server."""

    exit_code = 5
