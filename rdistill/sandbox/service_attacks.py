"""The attacks on a service that runs code, as programs; each prints `blocked` or `ESCAPED` for what it tried.

They are ours and not hostile, so what they say of the inside is believed. QUIET harms nothing even where there is no
wall at all. FIRM does where there is none, so it runs only after all of QUIET was stopped, and LIMITS after FIRM.
"""

from collections.abc import Callable
from typing import NamedTuple

from rdistill.sandbox import attacks
from rdistill.sandbox.attacks import ATTACKS, Bait


class Aim(NamedTuple):
    """What the attacks are aimed at: bait here, and places (address, port) and name servers to reach."""

    bait: Bait
    places: list[tuple[str, int]]
    listeners: list[tuple[str, int]]
    name_servers: list[str]


OWN_USER = """
import ctypes
capabilities = (ctypes.c_uint32 * 6)(*[1] * 6)
ctypes.CDLL(None).capget((ctypes.c_uint32 * 2)(0x20080522, 0), capabilities)
bare = 0 not in os.getresuid() and not any(capabilities)
print("blocked" if bare else "ESCAPED", "uids", os.getresuid(), "capabilities", list(capabilities))
"""

NETWORK = """
import socket
def ask(server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.5)
        asking.sendto(b"\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\0\\0\\2\\0\\1", (server, 53))
        asking.recv(512)
try:
    lines = [line.split() for line in open("/etc/resolv.conf")]
except OSError:
    lines = []
servers = [line[1] for line in lines if line[:1] == ["nameserver"] and line[1:]] + NAME_SERVERS
for place in PLACES + LISTENERS + [(server, 53) for server in servers]:
    attack(f"tcp {place}", lambda: socket.create_connection(place, 0.5).send(b"x"))
for place in LISTENERS:
    try: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", place)
    except OSError: pass  # where it arrives is seen from outside
for server in servers:
    attack(f"dns {server}", lambda: ask(server))
for path in ("/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock"):
    attack(path, lambda: socket.socket(socket.AF_UNIX).connect(path))
"""

OTHER_PROCESSES = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def parent(pid):
    return int(open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1])
def seize(pid):
    if libc.ptrace(0x4206, pid, None, None) != 0: raise OSError(ctypes.get_errno())
above, pid = {1}, os.getppid()
while pid > 1:
    above.add(pid)
    pid = parent(pid)
strangers = processes() - above
print("ESCAPED sees" if strangers else "blocked", len(strangers), "processes")
for pid in sorted(processes())[:50]:
    if os.getsid(pid) != os.getsid(0):  # those of the same session are this run's own
        attack(f"signal {pid}", lambda: os.kill(pid, 0))
        attack(f"memory {pid}", lambda: open(f"/proc/{pid}/mem", "rb").close())
        attack(f"trace {pid}", lambda: seize(pid))
"""

CREDENTIALS = """
import re
named = re.compile(rb"(?:^|\\0)([^=\\0]*(?:KEY|TOKEN(?!IZER)|SECRET|PASSW|CREDENTIAL|RDISTILL_BAIT)[^=\\0]*)=", re.I)
found = set()
for pid in filter(str.isdigit, os.listdir("/proc")):
    try: found |= set(named.findall(open(f"/proc/{pid}/environ", "rb").read()))
    except OSError: pass
found -= {b"GPG_KEY"}  # of Python's own images: public
print("ESCAPED names" if found else "blocked", sorted(found)[:9])
for path in ("/etc/shadow", "/etc/ssh/ssh_host_rsa_key", "/root/.ssh", "/run/secrets", "/var/lib/docker"):
    attack(path, lambda: os.listdir(path) if os.path.isdir(path) else open(path).read())
"""

HOST_FILES = """
secret, folder = SECRET
for top in ("", "/proc/1/root", "/proc/1/cwd", "/proc/self/root", "/host", "/mnt", "/tmp/../.."):
    attack("read " + top, lambda: open(top + secret).read())
    attack("list " + top, lambda: os.listdir(top + folder))
attack("create", lambda: open(folder + "/new", "w"))
for pid in processes():
    attack("root", lambda: open(f"/proc/{pid}/root{secret}").read())
"""

LEAVE = """
import time
for folder in PLACES:
    try: open(f"{folder}/MARKER", "w").close()
    except OSError: pass
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv(sys.executable, [sys.executable, "-S", "-c", "import time; time.sleep(30)", "MARKER"])
    os._exit(0)
os.wait()
time.sleep(SECONDS)
"""

FIND = """
import glob
found = [path for folder in PLACES for deep in ("", "*/", "*/*/") for path in glob.glob(f"{folder}/{deep}MARKER")]
for pid in sorted(processes()):
    try: found += [int(pid)] if b"MARKER" in open(f"/proc/{pid}/cmdline", "rb").read() else []
    except OSError: pass
print("ESCAPED" if found else "blocked", found)
for each in found:  # it is our own, and goes
    try: os.kill(each, 9) if isinstance(each, int) else os.remove(each)
    except OSError: pass
"""
_SHARED = ["/tmp", "/var/tmp", "/dev/shm", ".", "..", "../.."]


def leave(marker: str, seconds: float) -> str:
    """A program that leaves a file in each shared place and a daemon, and ends after some seconds."""
    return LEAVE.replace("MARKER", marker).replace("PLACES", repr(_SHARED)).replace("SECONDS", str(seconds))


def find(marker: str) -> str:
    """A program that looks for what another run left, and removes what it may."""
    return FIND.replace("MARKER", marker).replace("PLACES", repr(_SHARED))


WRITE_OUTSIDE = """
folders = ["/", "/usr", "/usr/lib", "/usr/bin", "/etc", "/opt", "/srv", "/app", "/root", "/home", "/proc/sys", "/sys",
           sys.prefix, os.path.dirname(sys.executable), os.path.dirname(os.__file__), sys.executable, os.__file__]
for path in folders + os.environ["PATH"].split(":"):
    print("ESCAPED" if os.access(path, os.W_OK) else "blocked", path)
"""

MOUNT = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
def mount():
    os.mkdir("mounted")
    if libc.mount(b"none", b"mounted", b"tmpfs", 0, None) != 0: raise OSError(ctypes.get_errno())
    libc.umount(b"mounted")
attack("mount", mount)
"""

QUIET: dict[str, Callable[[Aim], str]] = {
    "own user": lambda aim: OWN_USER,
    "network": lambda aim: (
        NETWORK.replace("NAME_SERVERS", repr(aim.name_servers))
        .replace("LISTENERS", repr(aim.listeners))
        .replace("PLACES", repr(aim.places))
    ),
    "abstract Unix socket": lambda aim: ATTACKS["abstract Unix socket"](aim.bait),
    "other processes": lambda aim: OTHER_PROCESSES,
    "credentials of the service": lambda aim: CREDENTIALS,
    "files of the caller": lambda aim: HOST_FILES.replace(
        "SECRET", repr((str(aim.bait.folder / "secret.txt"), str(aim.bait.folder)))
    ),
}

FIRM: dict[str, Callable[[Aim], str]] = {
    "write outside": lambda aim: WRITE_OUTSIDE,
    "write kernel settings": lambda aim: ATTACKS["write kernel settings"](aim.bait),
    "new user namespace": lambda aim: ATTACKS["new user namespace"](aim.bait),
    "mount": lambda aim: MOUNT,
}

LIMITS = {
    "memory": {"resource_limit"},
    "disk": {"resource_limit"},
    "output flood": {"resource_limit"},
    "deadline": {"timeout"},
    "fork bomb": {"resource_limit", "timeout"},
}
"""Programs of attacks.LIMITS, by name, and how they may end. Nobody watches there: a fork bomb may go on to its end."""

LIMIT_PROGRAMS = {name: attacks.LIMITS[name][0] for name in LIMITS}
