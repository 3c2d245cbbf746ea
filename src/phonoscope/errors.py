"""What Phonoscope refuses, and with which exit code. Every message names the file or key, the reason and the mend."""


class PhonoscopeError(Exception):
    """A refusal that the user can act on. Printed as one line; the traceback needs `--debug`."""

    exit_code = 1


class CheckFailed(PhonoscopeError):
    """A check such as `verify` or `doctor` found something wrong."""

    exit_code = 1


class ParamsError(PhonoscopeError):
    """A parameter or an argument is unknown, of the wrong type or impossible."""

    exit_code = 2


class DataError(PhonoscopeError):
    """Input data (audio, alignments, checkpoints, artifacts) cannot be used."""

    exit_code = 4


class EnvironmentFault(PhonoscopeError):
    """The machine lacks something: a package, the network, disk space, a required tracking server."""

    exit_code = 5
