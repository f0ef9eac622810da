"""Watch a sandboxed process from outside: byte caps, a deadline, the memory and number of its whole tree, its disk.

The parent reads with poll and never waits for output without a limit; what breaks a limit is killed with SIGKILL.
"""

import contextlib
import os
import select
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from rdistill.sandbox.scratch import bytes_below

WATCH_EVERY_S = 0.02
KILL_GRACE_S = 10.0
"""The dead of a fork bomb need CPU to go, which a busy machine gives late."""
CHUNK = 1 << 16
_PAGE = os.sysconf("SC_PAGE_SIZE")

Stop = Literal["exited", "timeout", "output", "memory", "processes", "disk", "survivor"]


class Watched(NamedTuple):
    """How a process ended and what it wrote, each stream cut at its cap."""

    stop: Stop
    exit_code: int
    streams: list[bytes]


class Limits(NamedTuple):
    """`caps` are bytes per stream; `deadline` is on the monotonic clock.

    `max_bytes` (anonymous and shared memory) and `max_tasks` (processes and threads) are for all descendants together,
    as is `max_disk_bytes`, where they have a `folder` of the host to write to.
    """

    caps: list[int]
    deadline: float
    max_bytes: int
    max_tasks: int
    folder: Path | None
    max_disk_bytes: int


def watch(process: subprocess.Popen, fds: list[int], limits: Limits) -> Watched:
    """Read `fds` until the process ends or breaks a limit; then nothing of it is left alive."""
    buffers = [bytearray() for _ in fds]
    stop = _read_until(process, fds, buffers, limits)
    if stop == "exited":
        try:
            process.wait(timeout=max(limits.deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            stop = "timeout"
    if stop != "exited":
        _kill(process, fds)
    if not _wait_for_end_of_streams(fds, KILL_GRACE_S):
        stop = "survivor"
    return Watched(stop, process.returncode, [bytes(b[:cap]) for b, cap in zip(buffers, limits.caps, strict=True)])


def _kill(process: subprocess.Popen, fds: list[int]) -> None:
    """Kill what bubblewrap, unshare or the launcher started, and let them reap the rest.

    Where that fails, they are killed too.
    """
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
    is_over = _wait_for_end_of_streams(fds, KILL_GRACE_S / 2)  # what is full would keep them from ending
    try:
        process.wait(timeout=KILL_GRACE_S / 2 if is_over else 0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=KILL_GRACE_S)


def _read_until(process: subprocess.Popen, fds: list[int], buffers: list[bytearray], limits: Limits) -> Stop:
    poll, open_fds = select.poll(), {fd: index for index, fd in enumerate(fds)}
    next_look = time.monotonic() + WATCH_EVERY_S
    for fd in fds:
        poll.register(fd, select.POLLIN)
    while open_fds:
        now = time.monotonic()
        if now >= limits.deadline:
            return "timeout"
        if now >= next_look:
            if broken := _broken_limit(process.pid, limits):
                return broken
            next_look = now + WATCH_EVERY_S
        for fd, _ in poll.poll(max(min(limits.deadline, next_look) - now, 0) * 1000 + 1):
            chunk = os.read(fd, CHUNK)
            index = open_fds[fd]
            buffers[index] += chunk
            if len(buffers[index]) > limits.caps[index]:
                return "output"
            if not chunk:
                poll.unregister(fd)
                del open_fds[fd]
    return "exited"


def _broken_limit(pid: int, limits: Limits) -> Stop | None:
    num_tasks, num_bytes = tree_usage(pid)
    if num_bytes > limits.max_bytes:
        return "memory"
    if num_tasks > limits.max_tasks:
        return "processes"
    if limits.folder is None:
        return None
    num_disk_bytes = bytes_below(limits.folder, limits.max_disk_bytes) + deleted_bytes(pid, limits.folder)
    return "disk" if num_disk_bytes > limits.max_disk_bytes else None


def _wait_for_end_of_streams(fds: list[int], timeout_s: float) -> bool:
    """Discard what is still in the pipes; True once no process holds their other ends."""
    deadline, open_fds = time.monotonic() + timeout_s, set(fds)
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
    for child in _descendants(pid):
        try:
            fields = _status_fields(child)
        except (OSError, ValueError):
            continue
        num_tasks += fields.get("Threads", 0)
        num_bytes += (fields.get("RssAnon", 0) + fields.get("RssShmem", 0)) << 10
    return num_tasks, num_bytes


def deleted_bytes(pid: int, folder: Path) -> int:
    """Bytes on the disk of `folder` in files that are deleted and still open somewhere below `pid`.

    Files of processes that this one may not look into are not seen, nor are those that are only mapped.
    """
    found: dict[int, int] = {}
    device = folder.parent.stat().st_dev
    for child in _descendants(pid):
        with contextlib.suppress(OSError), os.scandir(f"/proc/{child}/fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    file = entry.stat()
                    if file.st_nlink == 0 and file.st_dev == device and stat.S_ISREG(file.st_mode):
                        found[file.st_ino] = file.st_blocks * 512
    return sum(found.values())


def _descendants(pid: int) -> Iterator[int]:
    pending = _children(pid)
    while pending:
        child = pending.pop()
        yield child
        pending += _children(child)


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
