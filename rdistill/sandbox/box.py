"""Run untrusted Python: one fresh sandbox for each run.

    result = Sandbox(timeout_s=5, memory_mb=512).run("print(6 * 7)")      # status "ok", stdout "42\n"

Level `strong`: bubblewrap (new root, process, network, IPC and user or uid isolation), seccomp, rlimits, and a parent
that reads with byte caps and kills at a deadline. What it does NOT protect against: bugs of the kernel itself, side
channels, use of CPU within the limits, and a caller who puts secrets into the code or its stdin.
"""

import asyncio
import contextlib
import fcntl
import json
import math
import os
import platform
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rdistill.errors import PrerequisiteError
from rdistill.sandbox import layout
from rdistill.sandbox.process import Watched, watch
from rdistill.sandbox.seccomp import AUDIT_ARCH, build_filter

MAX_OUTPUT_BYTES, MAX_VALUES_BYTES, MAX_INPUT_BYTES = 1 << 16, 4 << 20, 16 << 20
MAX_TASKS, MAX_OPEN_FILES, MAX_FILE_MB = 32, 256, 16
SPARE_TASKS = 8
"""The kernel's cap on tasks lies this far above the watched one, so that a fork bomb is seen and named."""
NUM_SLOTS, FIRST_UID = 256, 60600
SLOT_WAIT_S = 30.0

SandboxStatus = Literal["ok", "error", "timeout", "resource_limit", "sandbox_error"]
Level = Literal["strong", "medium"]


class SandboxResult(NamedTuple):
    """What came out of one run.

    `ok`: exit status 0. `error`: any other. `sandbox_error`: the sandbox failed before or around the code, which says
    nothing about the code. `values` is what came over the result descriptor: bytes that the code may have forged.
    """

    status: SandboxStatus
    exit_code: int
    stdout: str
    stderr: str
    values: bytes
    seconds: float
    level: Level


class Sandbox:
    """Limits for runs; holds no process, so one object serves any number of threads and processes."""

    def __init__(self, level: Level = "strong", timeout_s: float = 5, memory_mb: int = 512) -> None:
        if level != "strong":
            raise PrerequisiteError(
                f"sandbox level {level!r} is not available; expected 'strong': set sandbox.require: strong"
            )
        self.level, self.timeout_s, self.memory_mb = level, timeout_s, memory_mb
        self._bwrap, self._setpriv, self._filter = find_parts()
        self._source = (Path(__file__).parent / "child.py").read_text(encoding="utf-8")

    def run(
        self, code: str, *, stdin: str = "", steps: list[dict[str, Any]] | None = None, timeout_s: float | None = None
    ) -> SandboxResult:
        """Run a program, or, where `steps` are given, a solution and then each step (functions.py has their form).

        Never raises for what the code does. Blocks for `timeout_s` (default: the sandbox's own) and a kill at most.
        """
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        request: dict[str, Any] = {"code": code, "limits": self._limits(timeout_s)}
        if steps is not None:
            request["steps"] = steps
        data, text = json.dumps(request).encode("ascii"), stdin.encode("utf-8", "surrogatepass")
        if len(data) + len(text) > MAX_INPUT_BYTES:
            return SandboxResult("resource_limit", -1, "", "code and stdin are too large", b"", 0.0, self.level)
        start = time.monotonic()
        try:
            with _slot() as uid:
                start = time.monotonic()
                watched = self._launch(data, text, uid, start + timeout_s)
        except (OSError, subprocess.SubprocessError) as error:
            return SandboxResult("sandbox_error", -1, "", f"{error}", b"", time.monotonic() - start, self.level)
        return self._result(watched, time.monotonic() - start)

    async def arun(self, code: str, **options: Any) -> SandboxResult:
        """`run` in a thread."""
        return await asyncio.to_thread(self.run, code, **options)

    def _limits(self, timeout_s: float) -> dict[str, int]:
        return {
            "RLIMIT_AS": self.memory_mb << 20,
            "RLIMIT_CPU": 2 * math.ceil(timeout_s) + 1,
            "RLIMIT_NPROC": MAX_TASKS + SPARE_TASKS,
            "RLIMIT_NOFILE": MAX_OPEN_FILES,
            "RLIMIT_FSIZE": MAX_FILE_MB << 20,
            "RLIMIT_CORE": 0,
            "RLIMIT_MEMLOCK": 0,
        }

    def _launch(self, request: bytes, stdin: bytes, uid: int | None, deadline: float) -> Watched:
        with contextlib.ExitStack() as stack:
            stdin_fd, request_fd, filter_fd = (stack.enter_context(_sealed(d)) for d in (stdin, request, self._filter))
            pipes = [os.pipe() for _ in range(3)]
            for read_end, _ in pipes:
                stack.callback(os.close, read_end)
            (out, err, values) = (write_end for _, write_end in pipes)
            try:
                process = subprocess.Popen(
                    layout.command(self._bwrap, self._setpriv, uid, filter_fd)
                    + layout.python_command(self._source, request_fd, values),
                    stdin=stdin_fd,
                    stdout=out,
                    stderr=err,
                    env={"PATH": "/usr/bin:/bin"},
                    cwd="/",
                    pass_fds=(request_fd, filter_fd, values),
                    process_group=0,
                )
            finally:
                for _, write_end in pipes:
                    os.close(write_end)
            caps = [MAX_OUTPUT_BYTES, MAX_OUTPUT_BYTES, MAX_VALUES_BYTES]
            return watch(process, [read_end for read_end, _ in pipes], caps, deadline, self.memory_mb << 20, MAX_TASKS)

    def _result(self, watched: Watched, seconds: float) -> SandboxResult:
        stdout, stderr, values = watched.streams
        ready, found, values = values.partition(b"ready\n")
        exit_code = watched.exit_code
        status: SandboxStatus = "ok" if exit_code == 0 else "error"
        if watched.stop == "survivor" or (watched.stop == "exited" and not (found and not ready)):
            status = "sandbox_error"
        elif watched.stop == "timeout":
            status = "timeout"
        elif watched.stop != "exited" or values == b"limit\n":
            status = "resource_limit"
        out, err = (stream.decode("utf-8", "replace") for stream in (stdout, stderr))
        return SandboxResult(status, exit_code, out, err, values, seconds, self.level)


def find_parts() -> tuple[str, str | None, bytes]:
    """(bwrap, setpriv or None, seccomp filter). Raises PrerequisiteError naming what is missing."""
    machine = platform.machine()
    if platform.system() != "Linux" or machine not in AUDIT_ARCH:
        raise PrerequisiteError(
            f"the sandbox needs Linux on {' or '.join(AUDIT_ARCH)}, got {platform.system()} on {machine}; move there"
        )
    bwrap, setpriv = shutil.which("bwrap"), shutil.which("setpriv")
    if bwrap is None:
        raise PrerequisiteError("the sandbox needs bubblewrap, and bwrap is not on PATH: apt-get install bubblewrap")
    if os.geteuid() != 0:
        return bwrap, None, build_filter(machine)
    if setpriv is None:
        raise PrerequisiteError(
            "the sandbox, started by root, needs setpriv, which is not on PATH: apt-get install util-linux"
        )
    return bwrap, os.path.realpath(setpriv), build_filter(machine)


@contextlib.contextmanager
def _slot() -> Iterator[int | None]:
    """A host uid that no other run on this machine has now; None for an ordinary user, whose namespace does as much.

    A bound abstract socket is the lock: it goes with its process, whatever kills it, and leaves no file behind.
    """
    if os.geteuid() != 0:
        yield None
        return
    deadline, first = time.monotonic() + SLOT_WAIT_S, random.randrange(NUM_SLOTS)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as lock:
        for attempt in range(1 << 30):
            uid = FIRST_UID + (first + attempt) % NUM_SLOTS
            with contextlib.suppress(OSError):
                lock.bind(f"\0rdistill-sandbox-{uid}")
                break
            if attempt % NUM_SLOTS == NUM_SLOTS - 1:
                if time.monotonic() > deadline:
                    raise OSError(f"no free sandbox slot of {NUM_SLOTS} within {SLOT_WAIT_S:g} s")
                time.sleep(0.05)
        yield uid


@contextlib.contextmanager
def _sealed(data: bytes) -> Iterator[int]:
    """A descriptor that reads `data` and can no longer be changed, not even by who inherits it."""
    fd = os.memfd_create("rdistill", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.lseek(fd, 0, os.SEEK_SET)
        fcntl.fcntl(
            fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
        )
        yield fd
    finally:
        os.close(fd)
