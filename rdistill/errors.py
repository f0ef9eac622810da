"""The errors a user may see: each names the boundary that failed and carries the process's exit code.

Word them in one sentence: what, the value got, what was expected, what to change.
"""


class RdistillError(Exception):
    """Base of every error that is the user's to mend; `exit_code` is what the command line returns."""

    exit_code = 4


class ConfigError(RdistillError, ValueError):
    """The configuration is wrong: a key, a type, a value, or two fields that contradict each other."""

    exit_code = 2


class DataError(RdistillError, ValueError):
    """A data file or row cannot be used."""

    exit_code = 2


class PrerequisiteError(RdistillError):
    """Something outside the config is missing: a model, an extra, a system package, the sandbox, an endpoint."""

    exit_code = 3


class TeacherError(RdistillError):
    """The teacher's engine failed as a whole (one bad completion is data, not an error)."""


class VerifierError(RdistillError):
    """The verifier pool failed as a whole (one crashed check is an `unverifiable` verdict, not an error)."""


class TrainError(RdistillError):
    """A training stage failed."""


def kind_of(error: RdistillError) -> str:
    """The name of an error's nearest class in this module: what another process can raise again."""
    return next(c.__name__ for c in type(error).__mro__ if c.__module__ == __name__)


def first_cause(error: BaseException) -> BaseException:
    """The first error inside an exception group (concurrent tasks raise those), or the error itself."""
    return first_cause(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
