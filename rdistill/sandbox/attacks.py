"""The attacks of the self-test, as programs.

Each of ATTACKS prints `blocked` or `ESCAPED` for what it tried; each of LIMITS must end with the status beside it.
"""

import json
import os
import socket
import subprocess
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
def processes(*guesses):
    try:
        seen = {int(name) for name in os.listdir("/proc") if name.isdigit()}
    except PermissionError:
        seen = {1, os.getppid(), *guesses}
    return seen - {os.getpid()}
"""


class Bait(NamedTuple):
    """What the attacks try to reach: a file, a secret, listeners, a process of ours and this one."""

    folder: Path
    secret: str
    port: int
    listeners: list[socket.socket]
    victim: subprocess.Popen


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
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
capabilities = (ctypes.c_uint32 * 6)(*[1] * 6)
libc.capget((ctypes.c_uint32 * 2)(0x20080522, 0), capabilities)
kept = [libc.prctl(option, 0, 0, 0, 0) for option in (39, 21)]  # no new privileges, seccomp's mode
bare = os.getuid() != 0 and not any(capabilities)
print("blocked" if bare and kept == [1, 2] else "ESCAPED", os.getuid(), list(capabilities), kept)
"""
    ),
    "read host files": lambda bait: (
        f"""
def read(path):
    print(os.listdir(path) if os.path.isdir(path) else open(path).read())
for top in ("", "/proc/1/root", "/proc/1/cwd", "/proc/self/root", "/tmp/../.."):
    attack(top, lambda: read(top + {str(bait.folder / "secret.txt")!r}))
for path in ("/etc/shadow", "/etc/passwd", "/root", "/root/.ssh", "/home", "/var", "/run", "/sys", "/opt", "/mnt"):
    attack(path, lambda: read(path))
attack("folder", lambda: read({str(bait.folder)!r}))
"""
    ),
    "find host files": lambda bait: (
        f"""
for path in ("/etc/shadow", "/etc/passwd", "/home", "/var", "/run", "/sys", "/opt", "/srv", {str(bait.folder)!r}):
    attack(path, lambda: os.stat(path))
"""
    ),
    "change host files": lambda bait: (
        f"""
import shutil
secret, folder = {str(bait.folder / "secret.txt")!r}, {str(bait.folder)!r}
attack("write", lambda: open(secret, "a"))
attack("truncate", lambda: os.truncate(secret, 0))
attack("chmod", lambda: os.chmod(secret, 0o777))
attack("chmod of the folder", lambda: os.chmod(folder, 0o700))
attack("chown", lambda: os.chown(secret, os.getuid(), os.getgid()))
attack("utime", lambda: os.utime(secret, (1, 1)))
attack("setxattr", lambda: os.setxattr(secret, "user.x", b"x"))
attack("chmod of Python", lambda: os.chmod(os.__file__, 0o666))
attack("link", lambda: os.link(secret, "linked"))
attack("rename", lambda: os.rename(secret, "renamed"))
attack("remove", lambda: os.remove(secret))
attack("create", lambda: open(folder + "/new", "w"))
attack("mkdir", lambda: os.mkdir(folder + "/new"))
attack("symlink", lambda: os.symlink("/", folder + "/new"))
attack("fifo", lambda: os.mkfifo(folder + "/new"))
attack("rmtree", lambda: shutil.rmtree(folder))
os.symlink(secret, "inside")
attack("symlink inside", lambda: open("inside").read())
"""
    ),
    "read the environment": lambda bait: (
        f"""
print("blocked", dict(os.environ))
for pid in processes({os.getpid()}, {bait.victim.pid}):
    try: print(open(f"/proc/{{pid}}/environ", "rb").read())
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
        f"""
others = processes({os.getpid()}, {bait.victim.pid})
for name in ("mem", "maps", "auxv", "environ"):
    for pid in others:
        attack(name, lambda: open(f"/proc/{{pid}}/{{name}}", "r+b" if name == "mem" else "rb").close())
print("blocked", len(others))
"""
    ),
    "see other processes": lambda bait: (
        """
seen = processes()
print("blocked" if seen <= {1, os.getppid()} else "ESCAPED", seen)
"""
    ),
    "reach other processes": lambda bait: (
        f"""
import resource, signal
for pid in {{ {os.getpid()}, {bait.victim.pid} }} - {{1, os.getpid()}}:
    attack("limit", lambda: resource.prlimit(pid, resource.RLIMIT_NOFILE, (1, 1)))
    attack("affinity", lambda: os.sched_setaffinity(pid, [0]))
    attack("scheduler", lambda: os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0)))
    attack("priority", lambda: os.setpriority(os.PRIO_PROCESS, pid, 19))
    attack("descriptor", lambda: signal.pidfd_send_signal(os.pidfd_open(pid), signal.SIGSTOP))
attack("kill", lambda: os.kill({bait.victim.pid} if os.getpid() > 9 else 1 << 21, signal.SIGKILL))
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
    "disk": ("for n in range(99): open(str(n), 'wb').write(bytes(8 << 20))", "resource_limit"),
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
