"""One worker process as the pool sees it: start, ask, read within a limit, kill."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import Any

MAX_LINE = 1 << 16
MAX_OUTPUT = 1 << 20
"""Bytes that a worker may print in one job; more is flooding, and it is killed."""
GRACE_S = 0.1
"""Added to a limit, so that a worker's own answer on the last instant wins over the kill."""


class WorkerDied(Exception):
    """The process ended, or answered nonsense, in the middle of a job."""


class WorkerProcess:
    """A started worker. `limit` arguments are in seconds."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._printed = 0
        self._tail = b""
        self._drain = asyncio.create_task(self._read_output())
        self.heavy: set[str] = set()
        """Modules that this worker imported on first use."""
        self.wear = 0.0

    @classmethod
    async def start(cls, setup: dict[str, Any]) -> "WorkerProcess":
        """Start a process with this one's import path and hand it its first line."""
        path = os.pathsep.join(p or os.getcwd() for p in sys.path)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "rdistill.verifiers.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=MAX_LINE,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"},
        )
        worker = cls(process)
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
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(limit + GRACE_S):
                line = await self._process.stdout.readline()
        except TimeoutError:  # our own event loop may have been busy: take an answer that is already there
            async with asyncio.timeout(GRACE_S):
                line = await self._process.stdout.readline()
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
                self._signal()

    def _signal(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    async def kill(self) -> None:
        """SIGKILL the process and its group, and reap it. One that has left by itself may have left children."""
        self._signal()
        await self._process.wait()
        self._drain.cancel()
        await asyncio.gather(self._drain, return_exceptions=True)
        if self._process.stdin is not None:
            self._process.stdin.close()
