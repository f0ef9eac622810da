"""The self-test: attack the sandbox before anything trusts it.

    for probe in self_test():
        print(probe.name, probe.ok, probe.detail)

Each probe runs a real attack and judges by what the parent sees (files, listeners, processes, the verdict of the run)
as well as by what the attack says. `require("strong")` runs it once in a process and raises where anything got through.
"""

import contextlib
import json
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from rdistill.errors import PrerequisiteError
from rdistill.sandbox.box import Level, Sandbox, SandboxResult, find_parts
from rdistill.sandbox.functions import run_function
from rdistill.sandbox.seccomp import denied_numbers

TIMEOUT_S, MEMORY_MB = 1.0, 256

_TRY = """
import os, sys
def attack(name, action):
    try:
        action()
    except BaseException as error:
        print("blocked", name, type(error).__name__)
    else:
        print("ESCAPED", name)
"""


class Probe(NamedTuple):
    """One attack: `ok` means that it was stopped."""

    name: str
    ok: bool
    detail: str


class Bait(NamedTuple):
    """What the attacks try to reach."""

    folder: Path
    secret: str
    port: int
    listeners: list[socket.socket]


def self_test() -> list[Probe]:
    """Run every probe; takes a few seconds. Raises PrerequisiteError if there is no sandbox to test."""
    sandbox = Sandbox(timeout_s=TIMEOUT_S, memory_mb=MEMORY_MB)
    with _bait() as bait:
        probes = [_probe(name, sandbox.run(_TRY + code(bait)), bait) for name, code in _ATTACKS.items()]
        probes += [_limit_probe(sandbox, name, code, status) for name, (code, status) in _LIMITS.items()]
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
    result = sandbox.run(code)
    seconds = time.monotonic() - start
    is_stopped = result.status == status and seconds < 2 * TIMEOUT_S
    return Probe(name, is_stopped, f"{result.status} after {seconds:.2f} s, expected {status}: {result.stderr[-100:]}")


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
    sandbox.run(_DAEMON.replace("MARKER", marker))
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


def _denied_calls(_: Bait) -> str:
    numbers = json.dumps(denied_numbers(os.uname().machine))
    return f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def call(number):
    if libc.syscall(number, -1, 0, 0, 0, 0, 0) != -1 or ctypes.get_errno() != 1:
        return
    raise PermissionError
for name, number in {numbers}.items():
    attack(name, lambda: call(number))
"""


_ATTACKS: dict[str, Callable[[Bait], str]] = {
    "privileges": lambda bait: (
        """
status = {name: value.strip() for name, _, value in (line.partition(":") for line in open("/proc/self/status"))}
bare = os.getuid() != 0 and all(int(status[n], 16) == 0 for n in ("CapPrm", "CapEff", "CapInh", "CapAmb"))
print("blocked" if bare and status["NoNewPrivs"] == "1" and status["Seccomp"] == "2" else "ESCAPED", status)
"""
    ),
    "read host files": lambda bait: (
        f"""
for top in ("", "/proc/1/root", "/proc/1/cwd", "/proc/self/root", "/tmp/../.."):
    attack(top, lambda: print(open(top + {str(bait.folder / "secret.txt")!r}).read()))
for path in ("/etc/shadow", "/etc/passwd", "/root/.ssh", "/home", "/var", "/run", "/sys", "/opt", "/mnt", "/srv"):
    attack(path, lambda: os.stat(path))
"""
    ),
    "read the environment": lambda bait: (
        """
print("blocked", dict(os.environ))
for pid in filter(str.isdigit, os.listdir("/proc")):
    try: print(open(f"/proc/{pid}/environ", "rb").read())
    except OSError: pass
"""
    ),
    "TCP": lambda bait: (
        f"""
import socket
attack("tcp", lambda: socket.create_connection(("127.0.0.1", {bait.port}), 0.2).send(b"x"))
"""
    ),
    "UDP": lambda bait: (
        f"""
import socket
attack("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", {bait.port})))
"""
    ),
    "abstract Unix socket": lambda bait: (
        f"""
import socket
attack("unix", lambda: socket.socket(socket.AF_UNIX).connect("\\0{bait.secret[:7]}" + {bait.secret[7:]!r}))
"""
    ),
    "write kernel settings": lambda bait: (
        """
for path in ("kernel/core_pattern", "kernel/hostname", "vm/drop_caches", "kernel/modprobe"):
    attack(path, lambda: open("/proc/sys/" + path, "r+"))
attack("oom", lambda: open("/proc/self/oom_score_adj", "w", buffering=1).write("-1000\\n"))
attack("sysrq", lambda: open("/proc/sysrq-trigger", "w"))
"""
    ),
    "write outside": lambda bait: (
        """
for folder in ("/", "/usr", "/usr/lib", "/etc", "/dev", "/proc/sys", os.path.dirname(os.__file__), "/python"):
    attack(folder, lambda: open(folder + "/x", "w"))
"""
    ),
    "memory of the parent": lambda bait: (
        """
for pid in {1, os.getppid()}:
    for name in ("mem", "maps", "auxv"):
        attack(name, lambda: open(f"/proc/{pid}/{name}", "r+b" if name == "mem" else "rb").read(1))
"""
    ),
    "signal to the parent": lambda bait: (
        """
import signal
os.kill(1, signal.SIGKILL) if os.getuid() == 0 else None
attack("all pids seen", lambda: [int(p) for p in os.listdir("/proc") if p.isdigit() and int(p) > 50][0])
"""
    ),
    "new user namespace": lambda bait: (
        """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def unshare(flags):
    if libc.unshare(flags) != 0: raise OSError(ctypes.get_errno())
for flags in (0x10000000, 0x00020000, 0x40000000): attack("unshare", lambda: unshare(flags))
number = {"x86_64": 56, "aarch64": 220}[os.uname().machine]
def clone(flags):
    pid = libc.syscall(number, flags | 17, 0, 0, 0, 0)
    if pid == 0: os._exit(0)
    if pid < 0: raise OSError
for flags in (0x10000000, 0x20000000): attack("clone", lambda: clone(flags))
"""
    ),
    "refused system calls": _denied_calls,
}

_LIMITS: dict[str, tuple[str, str]] = {
    "fork bomb": ("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass", "resource_limit"),
    "thread bomb": (
        "import threading, time\nthreading.stack_size(1 << 16)\n"
        "while True: threading.Thread(target=time.sleep, args=(9,)).start()",
        "resource_limit",
    ),
    "memory": (f"x = b'x' * ({4 * MEMORY_MB} << 20)", "resource_limit"),
    "memory of children": (
        "import os, time\n"
        f"for _ in range(6):\n    if os.fork() == 0:\n        x = b'x' * ({MEMORY_MB // 2} << 20); time.sleep(9)\n"
        "time.sleep(9)",
        "resource_limit",
    ),
    "shared memory": (
        "import mmap, os, time\nfor _ in range(3):\n    if os.fork() == 0:\n"
        f"        shared = mmap.mmap(-1, {MEMORY_MB // 2} << 20)\n"
        f"        for _ in range({MEMORY_MB // 2}): shared.write(bytes(1 << 20))\n"
        "time.sleep(9)",
        "resource_limit",
    ),
    "disk": ("for n in range(99): open(f'/tmp/{n}', 'wb').write(bytes(8 << 20))", "resource_limit"),
    "output flood": ("while True: print('x' * 65536)", "resource_limit"),
    "deadline": (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\nwhile True: pass",
        "timeout",
    ),
}

_DAEMON = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(60)", "MARKER"])
    os._exit(0)
os.wait()
"""
