"""The errors a user may see: each names the boundary that failed and carries the process's exit code.

Word them in one sentence: what, the value got, what was expected, what to change.
"""

import contextlib
import errno
import shutil
from collections.abc import Iterator
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_WORDS = ("No space left on device", "os error 28", "database or disk is full", "Disk quota exceeded")
"""How safetensors, SQLite and other processes' logs say it."""


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


def is_disk_full(error: BaseException) -> bool:
    """Whether a full disk (or quota) is behind an error, whoever words it."""
    known = (error, error.__cause__, error.__context__)
    return any(getattr(e, "errno", None) in FULL or any(w in str(e) for w in FULL_WORDS) for e in known if e)


def no_space(folder: Path) -> RdistillError:
    """The one sentence for a full disk."""
    try:
        free = f" ({shutil.disk_usage(folder).free / 1e6:.1f} MB free)"
    except OSError:
        free = ""
    return RdistillError(f"no space left on {folder}{free}; free some, then run again: what was finished is kept")


@contextlib.contextmanager
def full_disk_told(folder: Path) -> Iterator[None]:
    """Raise `no_space` for whatever a full disk makes of the work in `folder`."""
    try:
        yield
    except Exception as error:
        if not is_disk_full(cause := first_cause(error)):
            raise
        named = getattr(cause, "filename", None)
        raise no_space(Path(named).parent if isinstance(named, str) else folder) from None
