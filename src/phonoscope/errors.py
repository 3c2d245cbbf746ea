"""Errors that a user can act on, with exit codes. A message names the file or the argument, and the reason."""


class PhonoscopeError(Exception):
    """Base of all errors that a user can act on. Printed as one line; `--debug` adds the traceback."""

    exit_code = 1


class CheckFailed(PhonoscopeError):
    """A check such as `verify` or `doctor` has findings."""

    exit_code = 1


class ParamsError(PhonoscopeError):
    """A parameter or an argument is unknown, of the wrong type or impossible."""

    exit_code = 2


class DataError(PhonoscopeError):
    """Input data (audio, alignments, checkpoints, artifacts) cannot be used."""

    exit_code = 4


class TooManyRejected(DataError):
    """More utterances cannot be used than the caller allows."""


class EnvironmentFault(PhonoscopeError):
    """The machine lacks something: a package, the network, disk space, a required tracking server."""

    exit_code = 5
