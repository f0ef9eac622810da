"""The self-test: attack the sandbox before anything trusts it.

    for probe in self_test("strong"):
        print(probe.name, probe.ok, probe.detail)

Each probe runs a real attack and judges by what the parent sees (files, listeners, processes, the verdict of the run)
as well as by what the attack says. `require("strong")` does so once in a process, and raises where anything got
through. The probes are the same at every level; UNCLAIMED says which of them a level does not claim to stop.
"""

import contextlib
import os
import secrets
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from rdistill.errors import PrerequisiteError
from rdistill.sandbox.attacks import ATTACKS, ATTEMPT, DAEMON, LIMITS, MEMORY_MB, Bait
from rdistill.sandbox.box import Sandbox, SandboxResult
from rdistill.sandbox.functions import run_function
from rdistill.sandbox.levels import LEVELS, Consent, Level, grant, missing, remedy

TIMEOUT_S, DEADLINE_S = 10.0, 0.5
UNCLAIMED: dict[Level, set[str]] = {
    "strong": set(),
    "strong-nobwrap": {"find host files"},
    "medium": {"find host files"},
    "weak": {*ATTACKS, "no packet arrived", "host folder unchanged"},
}
"""Attacks that a level lets through, and that are not run against it. Landlock does not hide that a file exists."""


class Probe(NamedTuple):
    """One attack: `ok` means that it was stopped."""

    name: str
    ok: bool
    detail: str


def self_test(level: Level) -> list[Probe]:
    """Run every probe that a level claims to stop; takes a few seconds.

    Where something is missing, or not even honest code runs, that is the only probe.
    """
    if fault := missing(level):
        return [Probe("can be had", False, fault)]
    sandbox = Sandbox(level, timeout_s=TIMEOUT_S, memory_mb=MEMORY_MB)
    control = _honest(sandbox)
    if not control.ok:
        return [control]
    with _bait() as bait:
        attacks = {name: code(bait) for name, code in ATTACKS.items() if name not in UNCLAIMED[level]}
        probes = [_probe(name, sandbox.run(ATTEMPT + code), bait) for name, code in attacks.items()]
        probes += [_limit_probe(sandbox, name, code, status) for name, (code, status) in LIMITS.items()]
        probes += [_network_untouched(bait), _survivors(sandbox, bait), _folder_untouched(bait), _victim_unharmed(bait)]
    return [*(probe for probe in probes if probe.name not in UNCLAIMED[level]), control]


def require(lowest: Level, consent: Consent = Consent()) -> Level:
    """Settle on this machine's best level, and grant it to this process and those that it starts.

    Levels below `lowest` are looked at only where `consent` accepts them. Raises PrerequisiteError with what is missing
    and what mends it.
    """
    accepted = LEVELS if consent.weak else LEVELS[: LEVELS.index(lowest) + 1]
    faults = []
    for level in accepted:
        if fault := fault_of(level):
            faults.append(fault)
        elif level == "weak" and not consent.untrusted:
            faults.append(
                "what is left is level weak, where nothing but limits stands around code that a model wrote; if "
                "that is acceptable, type --i-understand-untrusted-code as well"
            )
        else:
            grant(level)
            return level
    or_less = "" if consent.weak else "; or accept the best level below for this run: --allow-weak-sandbox"
    raise PrerequisiteError(f"sandbox.require={lowest} is not met: {'; '.join(faults)}{or_less}")


@cache
def fault_of(level: Level) -> str | None:
    """Why this machine does not have a level, and what mends it; None if it has."""
    if fault := missing(level):
        return fault
    probes = self_test(level)
    failed = [probe for probe in probes if not probe.ok]
    if not failed:
        return None
    what = "; ".join(f"{probe.name}: {' '.join(probe.detail.split())[:160]}" for probe in failed[:3])
    return f"sandbox level {level} failed {len(failed)} of {len(probes)} probes ({what}); {remedy(level)}"


@contextlib.contextmanager
def _bait() -> Iterator[Bait]:
    """A secret in a file and in the environment, listeners on TCP, UDP and an abstract Unix socket, and a process."""
    secret = f"secret-{secrets.token_hex(8)}"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rdistill-bait-")))
        folder.chmod(0o777)
        (folder / "secret.txt").write_text(secret)
        (folder / "secret.txt").chmod(0o644)
        os.environ["RDISTILL_BAIT"] = secret
        stack.callback(os.environ.pop, "RDISTILL_BAIT", None)
        tcp, udp, local = (
            stack.enter_context(socket.socket(family, kind))
            for family, kind in (
                (socket.AF_INET, socket.SOCK_STREAM),
                (socket.AF_INET, socket.SOCK_DGRAM),
                (socket.AF_UNIX, socket.SOCK_STREAM),
            )
        )
        tcp.bind(("127.0.0.1", 0))
        udp.bind(("127.0.0.1", tcp.getsockname()[1]))
        local.bind(f"\0{secret}")
        for listener in (tcp, local):
            listener.listen()
        victim = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
        stack.callback(_end, victim)
        yield Bait(folder, secret, tcp.getsockname()[1], [tcp, udp, local], victim)


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()


def _probe(name: str, result: SandboxResult, bait: Bait) -> Probe:
    """Stopped: the attack ran to its end, nothing escaped, and the secret is in no output."""
    output = result.stdout + result.stderr
    is_stopped = result.status == "ok" and "blocked" in output and "ESCAPED" not in output and bait.secret not in output
    escapes = [line for line in output.splitlines() if "blocked" not in line]
    return Probe(name, is_stopped, f"{result.status}: {' '.join(escapes or output.split())[-300:]}")


def _limit_probe(sandbox: Sandbox, name: str, code: str, status: str) -> Probe:
    start = time.monotonic()
    result = sandbox.run(code, timeout_s=DEADLINE_S if status == "timeout" else TIMEOUT_S)
    seconds = time.monotonic() - start
    detail = f"{result.status} after {seconds:.2f} s, expected {status}: {result.stderr[-100:]}"
    return Probe(name, result.status == status, detail)


def _network_untouched(bait: Bait) -> Probe:
    reached = []
    for listener in bait.listeners:
        listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            listener.recv(1) if listener.type == socket.SOCK_DGRAM else listener.accept()
            reached.append(str(listener.getsockname()))
    return Probe("no packet arrived", not reached, f"reached: {reached}")


def _folder_untouched(bait: Bait) -> Probe:
    names, secret = sorted(path.name for path in bait.folder.iterdir()), bait.folder / "secret.txt"
    if names != ["secret.txt"]:
        return Probe("host folder unchanged", False, f"holds {names}")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (bait.folder, secret)]
    is_same = modes == [0o777, 0o644] and secret.stat().st_mtime > 1 and not os.listxattr(secret)
    return Probe("host folder unchanged", is_same and secret.read_text() == bait.secret, f"modes {modes}")


def _victim_unharmed(bait: Bait) -> Probe:
    pid = bait.victim.pid
    if (code := bait.victim.poll()) is not None:
        return Probe("host process unharmed", False, f"ended with {code}")
    state = [os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid), os.sched_getaffinity(pid)]
    own = [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), os.sched_getaffinity(0)]
    return Probe("host process unharmed", state == own, f"priority, scheduler, cores {state}, expected {own}")


def _survivors(sandbox: Sandbox, bait: Bait) -> Probe:
    """A double-forked daemon in its own session must die with its run."""
    marker = f"survivor-{bait.secret}"
    sandbox.run(DAEMON.replace("MARKER", marker))
    for _ in range(20):
        alive = [pid for pid in os.listdir("/proc") if pid.isdigit() and marker in _command_line(pid)]
        if not alive:
            break
        time.sleep(0.02)
    return Probe("no survivor", not alive, f"alive: {alive}")


def _command_line(pid: str) -> str:
    try:
        return Path("/proc", pid, "cmdline").read_bytes().decode("utf-8", "replace")
    except OSError:
        return ""


def _honest(sandbox: Sandbox) -> Probe:
    """The control: what should work does."""
    run = run_function(sandbox, "def add(a, b): return a + b", "add", [[2, 3], [0.5, 1]])
    values = [outcome.value for outcome in run.outcomes]
    return Probe("honest code runs", values == [5, 1.5], f"{run.status} {values} {run.detail}")
