"""What a verifier looks like, and the words it answers with."""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Protocol

from rdistill.records import Problem, Reason, Sample, Status, Verdict

MAX_DETAIL = 500
LONG = 1 << 15
"""Bytes of a job above which the worker says that it has read it; a pipe holds twice as many."""


class Verifier(Protocol):
    """Judges one sample at a time. `version` changes whenever a verdict could.

    Built as `Class(**options)`. `check` may raise, hang or crash: the pool turns that into an `unverifiable` verdict.

    It may also have

        check_gold(problem, stated) -> Verdict              does the gold pass, and can it be used at all? `stated` is a
                                                            sample that states it as an answer in the declared format
        check_group(problem, samples) -> list[Verdict]      one for each of a problem's samples, judged together; takes
                                                            the place of what `check` says of each alone
        probe() -> None                                     is what it depends on at hand, such as a server? Raises
                                                            PrerequisiteError; asked before the teacher's time is spent

    One that runs code keeps its Sandbox as `self.sandbox`: the level is written to each of its verdicts.
    """

    name: str
    version: str

    def check(self, problem: Problem, sample: Sample) -> Verdict: ...


def sandbox_level(verifier: Verifier) -> str | None:
    """The level of the Sandbox that a verifier keeps as `self.sandbox`; None where it has none."""
    return getattr(getattr(verifier, "sandbox", None), "level", None)


OPTIONAL = ("check_gold", "check_group")
"""Methods that a verifier may have beside `check`."""


def _verdict(verifier: Verifier, sample: Sample, status: Status, reason: Reason, detail: str) -> Verdict:
    return Verdict(
        sample_id=sample.id,
        verifier=verifier.name,
        version=verifier.version,
        status=status,
        reason=reason,
        detail=detail[:MAX_DETAIL],
        sandbox=sandbox_level(verifier),
    )


def passed(verifier: Verifier, sample: Sample, detail: str = "") -> Verdict:
    """The sample is right: it may be learned from."""
    return _verdict(verifier, sample, Status.PASS, Reason.OK, detail)


def failed(verifier: Verifier, sample: Sample, reason: Reason, detail: str = "") -> Verdict:
    """The sample is known to be wrong: it may stand on the rejected side of a pair."""
    return _verdict(verifier, sample, Status.FAIL, reason, detail)


def unverifiable(verifier: Verifier, sample: Sample, reason: Reason, detail: str = "") -> Verdict:
    """Nobody can tell: the sample is used on neither side."""
    return _verdict(verifier, sample, Status.UNVERIFIABLE, reason, detail)


announce: Callable[..., Any] | None = None
"""Set by the worker process: tells the pool that a heavy import begins or has ended."""


def load_heavy(module: str) -> ModuleType:
    """Import a module that takes seconds to load, on first use, without the time counting as the check's own."""
    if module in sys.modules or announce is None:
        return importlib.import_module(module)
    announce("loading", module)
    try:
        return importlib.import_module(module)
    finally:
        announce("loaded", module)
