"""Run untrusted Python: one fresh sandbox for each run.

    result = Sandbox(timeout_s=5, memory_mb=512).run("print(6 * 7)")      # status "ok", stdout "42\n"

What holds the program depends on the level (levels.py, walls.py); around it stand, at every level, rlimits and a parent
that reads with byte caps and kills at a deadline. What no level protects against: bugs of the kernel itself, side
channels, use of CPU within the limits, and a caller who puts secrets into the code or its stdin. What the levels below
`strong` leave open besides is in docs/decisions/sandbox_levels.md.
"""

import asyncio
import contextlib
import json
import math
import os
import random
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rdistill.errors import PrerequisiteError
from rdistill.sandbox import layout
from rdistill.sandbox.levels import Level, granted, granted_url, missing
from rdistill.sandbox.process import Limits, Watched, watch
from rdistill.sandbox.walls import sealed, walls

MAX_OUTPUT_BYTES, MAX_VALUES_BYTES, MAX_INPUT_BYTES = 1 << 16, 4 << 20, 16 << 20
MAX_TASKS, MAX_OPEN_FILES, MAX_FILE_MB = 32, 256, 16
SPARE_TASKS = 8
"""The kernel's cap on tasks lies this far above the watched one, so that a fork bomb is seen and named."""
NUM_SLOTS, FIRST_UID = 256, 60600
SLOT_WAIT_S = 30.0

SandboxStatus = Literal["ok", "error", "timeout", "resource_limit", "sandbox_error"]


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

    def __init__(
        self, level: Level | None = None, timeout_s: float = 5, memory_mb: int = 512, url: str | None = None
    ) -> None:
        """`level`, and the `url` of level `external`: by default what this process was granted.

        Raises PrerequisiteError where it cannot be had.
        """
        self.level, self.timeout_s, self.memory_mb = level or granted(), timeout_s, memory_mb
        self.url = (url or granted_url()) if self.level == "external" else None
        if fault := missing(self.level):
            raise PrerequisiteError(fault)
        if self.level == "external" and self.url is None:
            raise PrerequisiteError("sandbox level external needs the address of a service; give it in sandbox.url")
        self._source = (Path(__file__).parent / "child.py").read_text(encoding="utf-8")

    def run(
        self,
        code: str | bytes,
        *,
        stdin: str | bytes = "",
        steps: list[dict[str, Any]] | None = None,
        timeout_s: float | None = None,
    ) -> SandboxResult:
        """Run a program, or, where `steps` are given, a solution and then each step (functions.py has their form).

        A program in bytes is read as Python reads a file: its encoding is UTF-8, or what its first lines name.
        Never raises for what the code does. Blocks for `timeout_s` (default: the sandbox's own) and a kill at most; at
        level `external` for the service's allowance besides.
        """
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        request: dict[str, Any] = {"code": code, "limits": self._limits(timeout_s)}
        if isinstance(code, bytes):
            request |= {"code": code.decode("latin-1"), "is_bytes": True}
        if steps is not None:
            request["steps"] = steps
        data = json.dumps(request).encode("ascii")
        text = stdin if isinstance(stdin, bytes) else stdin.encode("utf-8", "surrogatepass")
        if len(data) + len(text) > MAX_INPUT_BYTES:
            return SandboxResult("resource_limit", -1, "", "code and stdin are too large", b"", 0.0, self.level)
        if self.url is not None:
            from rdistill.sandbox.service import Run, run_there  # httpx is slow to import, and mostly not needed

            return run_there(self.url, Run(data, text, timeout_s, MAX_TASKS + SPARE_TASKS, steps is not None))
        start = time.monotonic()
        try:
            with _slot() as uid:
                start = time.monotonic()
                watched = self._launch(data, text, uid, start + timeout_s)
        except (OSError, subprocess.SubprocessError) as error:
            return SandboxResult("sandbox_error", -1, "", f"{error}", b"", time.monotonic() - start, self.level)
        return self._result(watched, time.monotonic() - start)

    async def arun(self, code: str | bytes, **options: Any) -> SandboxResult:
        """`run` in a thread."""
        return await asyncio.to_thread(self.run, code, **options)

    def _limits(self, timeout_s: float) -> dict[str, int]:
        tasks = {"RLIMIT_NPROC": MAX_TASKS + SPARE_TASKS + self._num_foreign_tasks()} if self.url is None else {}
        return tasks | {
            "RLIMIT_AS": self.memory_mb << 20,
            "RLIMIT_CPU": 2 * math.ceil(timeout_s) + 1,
            "RLIMIT_NOFILE": MAX_OPEN_FILES,
            "RLIMIT_FSIZE": MAX_FILE_MB << 20,
            "RLIMIT_CORE": 0,
            "RLIMIT_MEMLOCK": 0,
        }

    def _num_foreign_tasks(self) -> int:
        """Tasks that may count against the program's uid and are not its own: all of the machine's, to be safe."""
        if os.geteuid() == 0 or self.level in ("strong", "strong-nobwrap"):
            return 0
        with open("/proc/loadavg") as file:
            return int(file.read().split()[3].rpartition("/")[2])

    def _launch(self, request: bytes, stdin: bytes, uid: int | None, deadline: float) -> Watched:
        with contextlib.ExitStack() as stack:
            stdin_fd, request_fd = (stack.enter_context(sealed(data)) for data in (stdin, request))
            around = stack.enter_context(walls(self.level, uid))
            pipes = [os.pipe() for _ in range(3)]
            for read_end, _ in pipes:
                stack.callback(os.close, read_end)
            (out, err, values) = (write_end for _, write_end in pipes)
            try:
                process = subprocess.Popen(
                    around.command + layout.python_arguments(self._source, request_fd, values),
                    stdin=stdin_fd,
                    stdout=out,
                    stderr=err,
                    env={"PATH": "/usr/bin:/bin"},
                    cwd="/",
                    pass_fds=(request_fd, values, *around.fds),
                    process_group=0,
                )
            finally:
                for _, write_end in pipes:
                    os.close(write_end)
            limits = Limits(
                [MAX_OUTPUT_BYTES, MAX_OUTPUT_BYTES, MAX_VALUES_BYTES],
                deadline,
                self.memory_mb << 20,
                MAX_TASKS,
                around.folder,
                layout.SCRATCH_MB << 20,
            )
            return watch(process, [read_end for read_end, _ in pipes], limits)

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
