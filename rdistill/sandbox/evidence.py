"""What the self-tests judge by: bait on this machine, what became of it, and what a run says.

with baited() as bait:
    judged("read files", sandbox.run(ATTEMPT + attack), bait)
    network_untouched(bait), folder_untouched(bait), victim_unharmed(bait)
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
from pathlib import Path
from typing import NamedTuple

from rdistill.sandbox.attacks import Bait
from rdistill.sandbox.box import Sandbox, SandboxResult
from rdistill.sandbox.functions import run_function


class Probe(NamedTuple):
    """One attack: `ok` means that it was stopped."""

    name: str
    ok: bool
    detail: str


@contextlib.contextmanager
def baited(address: str = "127.0.0.1") -> Iterator[Bait]:
    """A secret in a file and in the environment, listeners on TCP, UDP and an abstract Unix socket, and a process.

    `address`: where TCP and UDP are listened to.
    """
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
        tcp.bind((address, 0))
        udp.bind((address, tcp.getsockname()[1]))
        local.bind(f"\0{secret}")
        for listener in (tcp, local):
            listener.listen()
        victim = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
        stack.callback(_end, victim)
        yield Bait(folder, secret, tcp.getsockname()[1], [tcp, udp, local], victim)


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()


def judged(name: str, result: SandboxResult, bait: Bait) -> Probe:
    """Stopped: the attack ran to its end, nothing escaped, and the secret is in no output."""
    output = result.stdout + result.stderr
    is_stopped = result.status == "ok" and "blocked" in output and "ESCAPED" not in output and bait.secret not in output
    escapes = [line for line in output.splitlines() if "blocked" not in line]
    return Probe(name, is_stopped, f"{result.status}: {' '.join(escapes or output.split())[-300:]}")


def network_untouched(bait: Bait) -> Probe:
    reached = []
    for listener in bait.listeners:
        listener.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            listener.recv(1) if listener.type == socket.SOCK_DGRAM else listener.accept()
            reached.append(str(listener.getsockname()))
    return Probe("no packet arrived", not reached, f"reached: {reached}")


def folder_untouched(bait: Bait) -> Probe:
    names, secret = sorted(path.name for path in bait.folder.iterdir()), bait.folder / "secret.txt"
    if names != ["secret.txt"]:
        return Probe("host folder unchanged", False, f"holds {names}")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (bait.folder, secret)]
    is_same = modes == [0o777, 0o644] and secret.stat().st_mtime > 1 and not os.listxattr(secret)
    return Probe("host folder unchanged", is_same and secret.read_text() == bait.secret, f"modes {modes}")


def victim_unharmed(bait: Bait) -> Probe:
    pid = bait.victim.pid
    if (code := bait.victim.poll()) is not None:
        return Probe("host process unharmed", False, f"ended with {code}")
    state = [os.getpriority(os.PRIO_PROCESS, pid), os.sched_getscheduler(pid), os.sched_getaffinity(pid)]
    own = [os.getpriority(os.PRIO_PROCESS, 0), os.sched_getscheduler(0), os.sched_getaffinity(0)]
    return Probe("host process unharmed", state == own, f"priority, scheduler, cores {state}, expected {own}")


def survivors(marker: str) -> Probe:
    """Whether a process lives on this machine that has a marker in its command line, after a moment to die in."""
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


def honest(sandbox: Sandbox) -> Probe:
    """The control: what should work does."""
    run = run_function(sandbox, "def add(a, b): return a + b", "add", [[2, 3], [0.5, 1]])
    values = [outcome.value for outcome in run.outcomes]
    return Probe("honest code runs", values == [5, 1.5], f"{run.status} {values} {run.detail}")
