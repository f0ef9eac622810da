"""The self-test: attack the sandbox before anything trusts it.

    for probe in self_test():
        print(probe.name, probe.ok, probe.detail)

Each probe runs a real attack and judges by what the parent sees (files, listeners, processes, the verdict of the run)
as well as by what the attack says. `require("strong")` runs it once in a process and raises where anything got through.
"""

import contextlib
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from rdistill.errors import PrerequisiteError
from rdistill.sandbox.attacks import ATTACKS, ATTEMPT, DAEMON, LIMITS, MEMORY_MB, Bait
from rdistill.sandbox.box import Level, Sandbox, SandboxResult, find_parts
from rdistill.sandbox.functions import run_function

TIMEOUT_S, DEADLINE_S = 10.0, 0.5


class Probe(NamedTuple):
    """One attack: `ok` means that it was stopped."""

    name: str
    ok: bool
    detail: str


def self_test() -> list[Probe]:
    """Run every probe; takes a few seconds. Raises PrerequisiteError if there is no sandbox to test."""
    sandbox = Sandbox(timeout_s=TIMEOUT_S, memory_mb=MEMORY_MB)
    with _bait() as bait:
        probes = [_probe(name, sandbox.run(ATTEMPT + code(bait)), bait) for name, code in ATTACKS.items()]
        probes += [_limit_probe(sandbox, name, code, status) for name, (code, status) in LIMITS.items()]
        return [*probes, _network_untouched(bait), _survivors(sandbox, bait), _folder_untouched(bait), _honest(sandbox)]


def require(level: Level) -> None:
    """Make sure that the sandbox stops every probe. Raises PrerequisiteError with what is missing and what mends it."""
    if level != "strong":
        raise PrerequisiteError(
            f"sandbox level {level!r} is not available; expected 'strong': set sandbox.require: strong"
        )
    find_parts()
    failed = [probe for probe in _tested() if not probe.ok]
    if failed:
        what = "; ".join(f"{probe.name}: {' '.join(probe.detail.split())[:160]}" for probe in failed[:3])
        raise PrerequisiteError(f"the sandbox failed {len(failed)} of {len(_tested())} probes ({what}); {_remedy()}")


@cache
def _tested() -> list[Probe]:
    return self_test()


def _remedy() -> str:
    """The line that most likely mends a sandbox that does not start."""
    switches = {
        "kernel/apparmor_restrict_unprivileged_userns": ("1", "0"),
        "kernel/unprivileged_userns_clone": ("0", "1"),
        "user/max_user_namespaces": ("0", "10000"),
    }
    for name, (closed, opened) in switches.items():
        path = Path("/proc/sys") / name
        if path.exists() and path.read_text().strip() == closed:
            return f"allow user namespaces: sysctl -w {name.replace('/', '.')}={opened}"
    if os.geteuid() == 0:
        return (
            "in a container, start it with --privileged, or with --cap-add SYS_ADMIN --security-opt seccomp=unconfined"
        )
    return "in a container, start it with --security-opt seccomp=unconfined; else see that bwrap --unshare-all works"


@contextlib.contextmanager
def _bait() -> Iterator[Bait]:
    """A secret in a file and in the environment, and listeners on TCP, UDP and an abstract Unix socket."""
    secret = f"secret-{secrets.token_hex(8)}"
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rdistill-bait-")))
        folder.chmod(0o777)
        (folder / "secret.txt").write_text(secret)
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
        yield Bait(folder, secret, tcp.getsockname()[1], [tcp, udp, local])


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
    names = sorted(path.name for path in bait.folder.iterdir())
    is_same = names == ["secret.txt"] and (bait.folder / "secret.txt").read_text() == bait.secret
    return Probe("host folder unchanged", is_same, f"holds {names}")


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
