"""Starting child processes for heavy work: the environment they need, and how their end is understood.

GPU stages and engines live in children, so that their memory is truly freed. On CPU the allocator (tcmalloc) and
Intel's OpenMP nearly double the speed of training and sampling, and can only be preloaded into a new process.
"""

import ctypes
import importlib.metadata
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

TCMALLOC_NAMES = ("libtcmalloc_minimal.so.4", "libtcmalloc.so.4")
LIBRARY_FOLDERS = (
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
)


def find_tcmalloc() -> Path | None:
    """The system's tcmalloc, where installed."""
    found = (Path(folder) / name for folder in LIBRARY_FOLDERS for name in TCMALLOC_NAMES)
    return next((p for p in found if p.exists()), None)


def release_free_memory() -> None:
    """Give back to the system what tcmalloc, where it is preloaded, keeps for later."""
    release = getattr(ctypes.CDLL(None), "MallocExtension_ReleaseFreeMemory", None)
    if release is not None:
        release()


def find_openmp() -> Path | None:
    """Intel's OpenMP, where its package is installed in this environment."""
    try:
        files = importlib.metadata.files("intel-openmp") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((p for f in files if f.name == "libiomp5.so" and (p := Path(str(f.locate())).resolve()).exists()), None)


def preloads() -> list[Path]:
    """Libraries worth preloading into a child that computes on the CPU."""
    return [p for p in (find_tcmalloc(), find_openmp()) if p is not None]


OWNER = "RDISTILL_OWNER"
"""Environment variable that marks every process below one of ours, whatever group it moves to."""

# Waits for its parent's death, then kills what the parent started: vLLM's processes outlive a SIGKILL.
_WATCHDOG = """
import os, signal, sys, time
mark, parent = sys.argv[1].encode(), int(sys.argv[2])
while os.getppid() == parent:
    time.sleep(0.3)
for _ in range(5):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                if mark in f.read():
                    os.kill(int(pid), signal.SIGKILL)
        except OSError:
            pass
    time.sleep(0.3)
"""


def watch_over_children() -> None:
    """See to it that no process below this one outlives it. Needs child_environment's mark in this process's own."""
    mark = f"{OWNER}={os.environ[OWNER]}"
    # With no output of ours in its hands: whoever reads that must see its end when we end.
    subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _WATCHDOG, mark, str(os.getpid())],
        env={},
        cwd="/",
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill this process when its parent dies, so that a killed run leaves nothing behind."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os.kill(os.getpid(), signal.SIGKILL)


def prepare_this_process() -> None:
    """Start this program again, once, with the preloads and the mark in its environment; then watch over it."""
    if OWNER not in os.environ:
        os.execve(sys.executable, [sys.executable, "-m", "rdistill.cli", *sys.argv[1:]], child_environment())
    watch_over_children()


def child_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """This process's environment with the preloads added and the interpreter's folder on PATH."""
    env = dict(os.environ)
    present = [p for p in env.get("LD_PRELOAD", "").split(":") if p]
    env["LD_PRELOAD"] = ":".join(dict.fromkeys([*present, *map(str, preloads())]))
    env["PATH"] = f"{Path(sys.executable).parent}:{env.get('PATH', '')}"
    env.setdefault("TOKENIZERS_PARALLELISM", "false")
    env[OWNER] = uuid.uuid4().hex
    return env | (extra or {})


def last_error_line(log: Path, default: str) -> str:
    """The last line of a log that names an error, shortened; `default` where there is none."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-400:]
    except OSError:
        return default
    named = [line.strip() for line in lines if "Error" in line and not line.startswith((" ", "\t"))]
    return named[-1][-300:] if named else default
