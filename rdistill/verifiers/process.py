"""One worker process as the pool sees it: start, ask, read within limits of time and memory, kill.

The process that is started is the worker's keeper (keeper.py), which takes all that the worker started with it.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from rdistill.sandbox.process import tree_usage

KEEPER = Path(__file__).with_name("keeper.py")
MAX_LINE = 1 << 16
MAX_OUTPUT = 1 << 20
"""Bytes that a worker may print in one job; more is flooding, and it is killed."""
GRACE_S = 0.1
"""Added to a limit, so that a worker's own answer on the last instant wins over the kill."""
WATCH_EVERY_S, LOOK_EVERY_S = 0.05, 1.0
"""How often a worker's memory is looked at: while an answer is waited for, and where every answer is quick."""
KILL_GRACE_S = 5.0
"""What a keeper may take to end all that is below it."""


class WorkerDied(Exception):
    """The process ended, or answered nonsense, in the middle of a job."""


class WorkerProcess:
    """A started worker. `limit` arguments are in seconds; `memory_mb` is for it and all that it started together."""

    def __init__(self, process: asyncio.subprocess.Process, memory_mb: int) -> None:
        self._process = process
        self._memory_mb = memory_mb
        self._looked = time.monotonic()
        self._printed = 0
        self._tail = b""
        self._drain = asyncio.create_task(self._read_output())
        self.heavy: set[str] = set()
        """Modules that this worker imported on first use."""
        self.start_s = self.busy_s = 0.0
        """What its start took, and its jobs since."""
        self.jobs = 0

    @classmethod
    async def start(cls, setup: dict[str, Any]) -> "WorkerProcess":
        """Start a process with this one's import path and hand it its first line."""
        path = os.pathsep.join(p or os.getcwd() for p in sys.path)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-S", str(KEEPER)),
            *(sys.executable, "-P", "-m", "rdistill.verifiers.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_LINE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
        )
        worker = cls(process, setup["memory_mb"])
        await worker.send(json.dumps(setup).encode())
        return worker

    async def send(self, line: bytes) -> None:
        """Write one line; a worker that is gone is noticed by the next read."""
        assert self._process.stdin is not None
        self._printed = 0
        with contextlib.suppress(ConnectionError):
            self._process.stdin.write(line + b"\n")
            await self._process.stdin.drain()

    async def read(self, limit: float) -> list[Any]:
        """The next reply. Raises TimeoutError past the limit, WorkerDied if there will be no readable one."""
        try:
            line = await self._line(limit + GRACE_S)
        except ValueError:
            raise WorkerDied("it answered with more than 64 KiB") from None
        if not line:
            raise WorkerDied(await self._cause())
        try:
            reply = json.loads(line)
            assert isinstance(reply, list) and reply
        except (ValueError, RecursionError, AssertionError):
            raise WorkerDied("it answered with something that is not a reply") from None
        return reply

    async def _line(self, limit: float) -> bytes:
        """The next line; meanwhile, and now and then after it, the worker's memory is looked at."""
        assert self._process.stdout is not None
        now = time.monotonic()
        deadline = now + limit
        while now < deadline:
            try:
                async with asyncio.timeout(min(deadline - now, WATCH_EVERY_S)):
                    line = await self._process.stdout.readline()
            except TimeoutError:
                self._look()
                now = time.monotonic()
                continue
            if now - self._looked > LOOK_EVERY_S:
                self._look()
            return line
        async with asyncio.timeout(GRACE_S):  # our own event loop may have been busy: an answer may be there already
            return await self._process.stdout.readline()

    def _look(self) -> None:
        """Raises WorkerDied, and ends the worker, where it and all that it started hold too much memory."""
        self._looked = time.monotonic()
        _, num_bytes = tree_usage(self._process.pid)
        if num_bytes > self._memory_mb << 20:
            self._end()
            raise WorkerDied(f"it and what it started held more than {self._memory_mb} MiB of memory")

    async def _cause(self) -> str:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await self._process.wait()
                await self._drain
        if self._printed > MAX_OUTPUT:
            return f"it printed more than {MAX_OUTPUT >> 20} MiB"
        code = self._process.returncode
        how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
        said = self._tail.decode("utf-8", "replace").strip().splitlines()
        return f"its process ended with {how}" + (f" ({said[-1][:200]!r})" if said else "")

    async def _read_output(self) -> None:
        assert self._process.stderr is not None
        while data := await self._process.stderr.read(MAX_LINE):
            self._printed += len(data)
            self._tail = (self._tail + data)[-2000:]
            if self._printed > MAX_OUTPUT:
                self._end()

    def _end(self, number: int = signal.SIGTERM) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            self._process.send_signal(number)

    async def kill(self) -> None:
        """End the worker and all that it started, by SIGKILL from its keeper, and reap the keeper."""
        self._end()
        try:
            async with asyncio.timeout(KILL_GRACE_S):
                await self._process.wait()
        except TimeoutError:
            self._end(signal.SIGKILL)
            await self._process.wait()
        self._drain.cancel()
        await asyncio.gather(self._drain, return_exceptions=True)
        if self._process.stdin is not None:
            self._process.stdin.close()
