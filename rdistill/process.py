"""Starting child processes for heavy work: the environment they need, and how their end is understood.

GPU stages and engines live in children, so that their memory is truly freed. On CPU the allocator (tcmalloc) and
Intel's OpenMP nearly double the speed of training and sampling, and can only be preloaded into a new process.
"""

import importlib.metadata
import os
import sys
from collections.abc import Sequence
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


def child_environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """This process's environment with the preloads added and the interpreter's folder on PATH."""
    env = dict(os.environ)
    present = [p for p in env.get("LD_PRELOAD", "").split(":") if p]
    env["LD_PRELOAD"] = ":".join(dict.fromkeys([*present, *map(str, preloads())]))
    env["PATH"] = f"{Path(sys.executable).parent}:{env.get('PATH', '')}"
    env.setdefault("TOKENIZERS_PARALLELISM", "false")
    return env | (extra or {})


def last_error_line(log: Path, default: str) -> str:
    """The last line of a log that names an error, shortened; `default` where there is none."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-400:]
    except OSError:
        return default
    named = [line.strip() for line in lines if "Error" in line and not line.startswith((" ", "\t"))]
    return named[-1][-300:] if named else default


def python_command(module: str, *arguments: str) -> Sequence[str]:
    """Run a module of ours in this interpreter."""
    return [sys.executable, "-m", module, *arguments]
