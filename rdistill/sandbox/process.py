"""Watch a sandboxed process from outside: byte caps, a deadline, and the memory and number of its whole tree.

The parent reads with poll and never waits for output without a limit; what breaks a limit is killed with SIGKILL.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from typing import Literal, NamedTuple

WATCH_EVERY_S = 0.02
KILL_GRACE_S = 10.0
"""The dead of a fork bomb need CPU to go, which a busy machine gives late."""
CHUNK = 1 << 16
_PAGE = os.sysconf("SC_PAGE_SIZE")

Stop = Literal["exited", "timeout", "output", "memory", "processes", "survivor"]


class Watched(NamedTuple):
    """How a process ended and what it wrote, each stream cut at its cap."""

    stop: Stop
    exit_code: int
    streams: list[bytes]


def watch(
    process: subprocess.Popen, fds: list[int], caps: list[int], deadline: float, max_bytes: int, max_tasks: int
) -> Watched:
    """Read `fds` until the process ends or breaks a limit; then nothing of it is left alive.

    `caps` are bytes per stream, `deadline` is on the monotonic clock, `max_bytes` (anonymous and
    shared memory) and `max_tasks` (processes and threads) are for all its descendants together.
    """
    buffers = [bytearray() for _ in fds]
    stop = _read_until(process, fds, buffers, caps, deadline, max_bytes, max_tasks)
    if stop == "exited":
        try:
            process.wait(timeout=max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            stop = "timeout"
    if stop != "exited":
        _kill(process)
    if not _wait_for_end_of_streams(fds):
        stop = "survivor"
    return Watched(stop, process.returncode, [bytes(b[:cap]) for b, cap in zip(buffers, caps, strict=True)])


def _kill(process: subprocess.Popen) -> None:
    """Kill bubblewrap's child, process 1 of the box, and let bubblewrap reap it; where that fails, bubblewrap too."""
    children = _children(process.pid)
    if not children:
        process.kill()
    for pid in children:
        with contextlib.suppress(OSError):
            handle = os.pidfd_open(pid)
            try:
                if pid in _children(process.pid):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
            finally:
                os.close(handle)
    try:
        process.wait(timeout=KILL_GRACE_S / 2)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=KILL_GRACE_S)


def _read_until(process, fds, buffers, caps, deadline, max_bytes, max_tasks) -> Stop:
    poll, open_fds = select.poll(), {fd: index for index, fd in enumerate(fds)}
    next_look = time.monotonic() + WATCH_EVERY_S
    for fd in fds:
        poll.register(fd, select.POLLIN)
    while open_fds:
        now = time.monotonic()
        if now >= deadline:
            return "timeout"
        if now >= next_look:
            num_tasks, num_bytes = tree_usage(process.pid)
            if num_bytes > max_bytes:
                return "memory"
            if num_tasks > max_tasks:
                return "processes"
            next_look = now + WATCH_EVERY_S
        for fd, _ in poll.poll(max(min(deadline, next_look) - now, 0) * 1000 + 1):
            chunk = os.read(fd, CHUNK)
            index = open_fds[fd]
            buffers[index] += chunk
            if len(buffers[index]) > caps[index]:
                return "output"
            if not chunk:
                poll.unregister(fd)
                del open_fds[fd]
    return "exited"


def _wait_for_end_of_streams(fds: list[int]) -> bool:
    """Discard what is still in the pipes; True once no process holds their other ends."""
    deadline, open_fds = time.monotonic() + KILL_GRACE_S, set(fds)
    while open_fds and (left := deadline - time.monotonic()) > 0:
        for fd in select.select(open_fds, [], [], left)[0]:
            if not os.read(fd, CHUNK):
                open_fds.discard(fd)
    return not open_fds


def tree_usage(pid: int) -> tuple[int, int]:
    """Number of processes and threads below `pid`, and the bytes of memory that they hold together.

    Copy-on-write pages count once for each process that maps them: the sum is an upper bound.
    """
    num_tasks = num_bytes = 0
    pending = _children(pid)
    while pending:
        child = pending.pop()
        try:
            fields = _status_fields(child)
        except (OSError, ValueError):
            continue
        num_tasks += fields.get("Threads", 0)
        num_bytes += (fields.get("RssAnon", 0) + fields.get("RssShmem", 0)) << 10
        pending += _children(child)
    return num_tasks, num_bytes


def _children(pid: int) -> list[int]:
    """Children of every thread of a process."""
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += map(int, file.read().split())
    except OSError:
        pass
    return found


def _status_fields(pid: int) -> dict[str, int]:
    with open(f"/proc/{pid}/status", errors="replace") as file:
        pairs = (line.split(":", 1) for line in file if line.startswith(("Threads", "RssAnon", "RssShmem")))
        return {name: int(value.split()[0]) for name, value in pairs}
