"""The attacks of the self-test, as programs.

Each of ATTACKS prints `blocked` or `ESCAPED` for what it tried; each of LIMITS must end with the status beside it.
"""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rdistill.sandbox.seccomp import denied_numbers

MEMORY_MB = 256
"""The limit that the memory attacks are made for."""

ATTEMPT = """
import os, sys
def attack(name, action):
    try:
        action()
    except BaseException as error:
        print("blocked", name, type(error).__name__)
    else:
        print("ESCAPED", name)
"""


class Bait(NamedTuple):
    """What the attacks try to reach."""

    folder: Path
    secret: str
    port: int
    listeners: list[socket.socket]


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


ATTACKS: dict[str, Callable[[Bait], str]] = {
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
    "memory of other processes": lambda bait: (
        """
others = {name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()}
for name in ("mem", "maps", "auxv", "environ"):
    for pid in others:
        attack(name, lambda: open(f"/proc/{pid}/{name}", "r+b" if name == "mem" else "rb").close())
print("blocked", len(others))
"""
    ),
    "see other processes": lambda bait: (
        """
seen = {int(name) for name in os.listdir("/proc") if name.isdigit()}
print("blocked" if seen == {1, os.getpid()} else "ESCAPED", seen)
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
    "outlive the parent": lambda bait: (
        """
import ctypes
def forget():
    if ctypes.CDLL(None).prctl(1, 0, 0, 0, 0) != 0: raise OSError
attack("pdeathsig", forget)
"""
    ),
    "refused system calls": _denied_calls,
}

LIMITS: dict[str, tuple[str, str]] = {
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

DAEMON = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(60)", "MARKER"])
    os._exit(0)
os.wait()
"""
