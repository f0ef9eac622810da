"""How the verdicts of several verifiers become one status of a sample.

Only required verifiers vote; an advisory one is recorded. The logic has three values, and `unverifiable` is "not
known": the status is `pass` or `fail` only where it would be the same whatever the unknown verdicts turned out to be.

    all        pass: every vote passes          fail: a vote fails
    any        pass: a vote passes              fail: every vote fails
    weighted   pass: the passes weigh at least  fail: passes and unknowns together weigh less than
               verify.threshold of all votes          verify.threshold of all votes

Else, and where nobody votes, it is `unverifiable`. Source of all and any: Kleene's strong logic, 1938.
"""

import math
from collections.abc import Iterable, Sequence

from rdistill.config import Config, VerifierSpec, VerifyConfig
from rdistill.errors import ConfigError
from rdistill.records import Problem, Reason, Status, Verdict

GROUP_VERIFIERS = ("agreement",)
"""Those that have nothing to say of one answer alone."""
FORM_VERIFIERS = ("format", "length", "steps")
"""Those that judge how an answer was reached or written; an answer alone, in `direct`, has no steps."""
ROUNDING = 1e-9
"""Share of the votes that sums of weights may be wrong by: 0.1 + 0.2 reaches a threshold of 0.3."""


def applicable(specs: Iterable[VerifierSpec], domain: str) -> list[VerifierSpec]:
    """The verifiers that judge problems of a domain, in their order."""
    return [spec for spec in specs if spec.domains is None or domain in spec.domains]


def without_form(specs: Sequence[VerifierSpec]) -> list[VerifierSpec]:
    """Those that say whether an answer alone is right; where there are no others, those about form."""
    return [spec for spec in specs if spec.name not in FORM_VERIFIERS] or list(specs)


def combine(verdicts: Sequence[Verdict], specs: Sequence[VerifierSpec], verify: VerifyConfig, domain: str) -> Status:
    """One status for a sample of a problem of `domain`, from one verdict by each of `specs`."""
    votes = [(v.status, spec.weight) for v, spec in zip(verdicts, specs, strict=True) if spec.required]
    statuses = {status for status, _ in votes}
    if len(statuses) <= 1:  # unanimous, or nobody votes
        return statuses.pop() if statuses else Status.UNVERIFIABLE
    how = verify.combine_in.get(domain, verify.combine)
    if how == "weighted":
        return _weigh(votes, verify.threshold)
    decisive = Status.FAIL if how == "all" else Status.PASS
    return decisive if decisive in statuses else Status.UNVERIFIABLE


def _weigh(votes: list[tuple[Status, float]], threshold: float | None) -> Status:
    assert threshold is not None, "the config wants a threshold with combine: weighted"
    total = math.fsum(weight for _, weight in votes)
    least = math.fsum(weight for status, weight in votes if status is Status.PASS) / total
    most = math.fsum(weight for status, weight in votes if status is not Status.FAIL) / total
    if least >= threshold - ROUNDING:
        return Status.PASS
    return Status.FAIL if most < threshold - ROUNDING else Status.UNVERIFIABLE


def deciding_reason(verdicts: Sequence[Verdict], specs: Sequence[VerifierSpec], status: Status) -> Reason:
    """Why a sample has its combined status: the first vote that says the same, else the first that does not pass."""
    if status is Status.PASS:
        return Reason.OK
    votes = [v for v, spec in zip(verdicts, specs, strict=True) if spec.required]
    same = [v for v in votes if v.status is status] or [v for v in votes if v.status is not Status.PASS]
    return same[0].reason if same else Reason.VERIFIER_ERROR


def check_domains(config: Config, problems: Iterable[Problem]) -> None:
    """Raises: ConfigError if no required verifier judges a problem's domain, or a domain is named that is nowhere."""
    specs = config.verify.verifiers
    if all(spec.domains is None for spec in specs) and not config.verify.combine_in:
        return
    domains = {problem.domain for problem in problems}
    if unknown := sorted(config.verify.combine_in.keys() - domains):
        raise ConfigError(
            f"verify.combine_in names {unknown[0]!r}, which no problem has; the domains are "
            f"{', '.join(sorted(domains))}"
        )
    for number, spec in enumerate(specs):
        if unknown := sorted({*(spec.domains or ())} - domains):
            raise ConfigError(
                f"verify.verifiers.{number}.domains names {unknown[0]!r}, which no problem has; the domains are "
                f"{', '.join(sorted(domains))}"
            )
    for domain in sorted(domains):
        if not any(spec.required for spec in applicable(specs, domain)):
            raise ConfigError(
                f"verify.verifiers: none with required: true judges domain {domain!r}, so none of its samples could "
                "ever pass; add it to a verifier's domains"
            )
