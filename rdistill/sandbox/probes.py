"""The self-test: attack the sandbox before anything trusts it.

    for probe in self_test("strong"):
        print(probe.name, probe.ok, probe.detail)

Each probe runs a real attack and judges by what the parent sees (files, listeners, processes, the verdict of the run)
as well as by what the attack says. `require("strong")` does so once in a process, and raises where anything got
through. The probes are the same at every level of this machine; UNCLAIMED says which of them a level does not claim to
stop. A service has its own (service_probes.py).
"""

import time
from functools import cache

from rdistill.errors import PrerequisiteError
from rdistill.sandbox.attacks import ATTACKS, ATTEMPT, DAEMON, LIMITS, MEMORY_MB, Bait
from rdistill.sandbox.box import Sandbox
from rdistill.sandbox.evidence import (
    Probe,
    baited,
    folder_untouched,
    honest,
    judged,
    network_untouched,
    survivors,
    victim_unharmed,
)
from rdistill.sandbox.levels import LEVELS, LOCAL, Consent, Level, grant, missing, remedy
from rdistill.sandbox.service_probes import attack_service

TIMEOUT_S, DEADLINE_S = 10.0, 0.5
UNCLAIMED: dict[Level, set[str]] = {
    "strong": set(),
    "strong-nobwrap": {"find host files"},
    "medium": {"find host files"},
    "weak": {*ATTACKS, "no packet arrived", "host folder unchanged"},
}
"""Attacks that a level lets through, and that are not run against it. Landlock does not hide that a file exists."""


def self_test(level: Level, url: str | None = None) -> list[Probe]:
    """Run every probe that a level claims to stop; takes a few seconds. `url`: of the service, for level `external`.

    Where something is missing, or not even honest code runs, that is the only probe.
    """
    if fault := missing(level):
        return [Probe("can be had", False, fault)]
    if level == "external":
        return attack_service(Sandbox(level, timeout_s=TIMEOUT_S, memory_mb=MEMORY_MB, url=url))
    sandbox = Sandbox(level, timeout_s=TIMEOUT_S, memory_mb=MEMORY_MB)
    control = honest(sandbox)
    if not control.ok:
        return [control]
    with baited() as bait:
        attacks = {name: code(bait) for name, code in ATTACKS.items() if name not in UNCLAIMED[level]}
        probes = [judged(name, sandbox.run(ATTEMPT + code), bait) for name, code in attacks.items()]
        probes += [_limit_probe(sandbox, name, code, status) for name, (code, status) in LIMITS.items()]
        probes += [network_untouched(bait), _survivors(sandbox, bait), folder_untouched(bait), victim_unharmed(bait)]
    return [*(probe for probe in probes if probe.name not in UNCLAIMED[level]), control]


def require(lowest: Level, consent: Consent = Consent(), url: str | None = None) -> Level:
    """Settle on this machine's best level, and grant it to this process and those that it starts.

    Where `lowest` is `external` it is the service at `url`, and no level of this machine. Levels below `lowest`, or in
    the service's place, are looked at only where `consent` accepts them. Raises PrerequisiteError with what is missing
    and what mends it.
    """
    at_most = LOCAL[-1] if consent.weak else lowest
    here = [level for level in LOCAL if LEVELS.index(level) <= LEVELS.index(at_most)]
    accepted: list[Level] = here if lowest != "external" else ["external", *(here if consent.weak else [])]
    faults = []
    for level in accepted:
        if fault := fault_of(level, url) if level == "external" else fault_of(level):
            faults.append(fault)
        elif level == "weak" and not consent.untrusted:
            faults.append(
                "what is left is level weak, where nothing but limits stands around code that a model wrote; if "
                "that is acceptable, type --i-understand-untrusted-code as well"
            )
        else:
            grant(level, url if level == "external" else None)
            return level
    less = "of this machine" if lowest == "external" else "below"
    or_less = "" if consent.weak else f"; or accept the best level {less} for this run: --allow-weak-sandbox"
    raise PrerequisiteError(f"sandbox.require={lowest} is not met: {'; '.join(faults)}{or_less}")


@cache
def fault_of(level: Level, url: str | None = None) -> str | None:
    """Why this machine, or the service at `url`, does not have a level, and what mends it; None if it has."""
    if fault := missing(level):
        return fault
    probes = self_test(level, url)
    failed = [probe for probe in probes if not probe.ok]
    if not failed:
        return None
    what = "; ".join(f"{probe.name}: {' '.join(probe.detail.split())[:160]}" for probe in failed[:3])
    return f"sandbox level {level} failed {len(failed)} of {len(probes)} probes ({what}); {remedy(level)}"


def _limit_probe(sandbox: Sandbox, name: str, code: str, status: str) -> Probe:
    start = time.monotonic()
    result = sandbox.run(code, timeout_s=DEADLINE_S if status == "timeout" else TIMEOUT_S)
    seconds = time.monotonic() - start
    detail = f"{result.status} after {seconds:.2f} s, expected {status}: {result.stderr[-100:]}"
    return Probe(name, result.status == status, detail)


def _survivors(sandbox: Sandbox, bait: Bait) -> Probe:
    """A double-forked daemon in its own session must die with its run."""
    marker = f"survivor-{bait.secret}"
    sandbox.run(DAEMON.replace("MARKER", marker))
    return survivors(marker)
