"""Verifiers decide what may be learned from: the protocol, the registry, the worker pool and the case runner.

A verifier is a plain class with `name`, `version` and `check(problem, sample) -> Verdict`, built with its options as
keywords and registered under the entry point group `rdistill.verifiers`:

    from rdistill.verifiers import Verdict, failed, passed

    class Shouts:
        name, version = "shouts", "1"

        def check(self, problem, sample):
            return passed(self, sample) if sample.text.isupper() else failed(self, sample, Reason.FORMAT, "lower case")

Heavier parts are imported by module: `rdistill.verifiers.pool`, `.registry`, `.cases`.
"""

from rdistill.records import Problem, Reason, Sample, Status, Verdict
from rdistill.verifiers.protocol import Verifier, failed, load_heavy, passed, unverifiable

__all__ = [
    "Problem",
    "Reason",
    "Sample",
    "Status",
    "Verdict",
    "Verifier",
    "failed",
    "load_heavy",
    "passed",
    "unverifiable",
]
