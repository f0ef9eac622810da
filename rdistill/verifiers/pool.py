"""Verifiers in persistent processes that can be killed.

    async with VerifierPool([VerifierSpec(name="math")], workers=2, timeout_s=5) as pool:
        verdicts = await pool.check(problem, sample)
        status = combine(verdicts, pool.specs)

Each process answers one request at a time. A check that passes its time limit is ended by SIGKILL and its process
replaced; time spent waiting for a free process, or on a heavy first import, does not count. First-party verifiers
share their processes; every plug-in has its own, so that a bad one changes nobody else's verdicts.
"""

import asyncio
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rdistill.config import VerifierSpec
from rdistill.errors import ConfigError, VerifierError
from rdistill.records import Problem, Reason, Sample, Status, Verdict
from rdistill.verifiers import registry
from rdistill.verifiers.process import WorkerDied, WorkerProcess

START_LIMIT_S = 60
"""Longest start or heavy import of a worker."""
SLOW_S, SLOW_WEAR, MAX_WEAR = 0.005, 40, 20_000
"""A worker is recycled after 20,000 quick checks or 500 slow ones: sympy's caches grow."""
START_ATTEMPTS = 3


def combine(verdicts: Sequence[Verdict], specs: Sequence[VerifierSpec]) -> Status:
    """One status for a sample: any required `fail` fails it, all required `pass` pass it, else it is unverifiable.

    Where nothing is required nothing vouches for the sample: unverifiable.
    """
    required = [v.status for v, spec in zip(verdicts, specs, strict=True) if spec.required]
    if Status.FAIL in required:
        return Status.FAIL
    return Status.PASS if required and all(s is Status.PASS for s in required) else Status.UNVERIFIABLE


class VerifierPool:
    """The verifiers of one run, `workers` processes for each group of them.

    timeout_s: seconds for one check by one verifier; memory_mb: address space of a process, in MiB.
    Raises: ConfigError for an unknown name (at once) or refused options (on entering); VerifierError, on entering, if
    a plug-in fails to import, and from `check` if its processes cannot be started any more.
    """

    def __init__(
        self, specs: Sequence[VerifierSpec], *, workers: int = 2, timeout_s: float = 5, memory_mb: int = 2048
    ) -> None:
        self.specs = list(specs)
        own = [registry.is_first_party(s.name) for s in self.specs]
        for spec in self.specs:
            registry.require(spec.name)
        shared = [i for i, first in enumerate(own) if first]
        groups = ([shared] if shared else []) + [[i] for i, first in enumerate(own) if not first]
        self._lanes = [
            Lane({i: self.specs[i] for i in group}, workers, timeout_s, memory_mb, guarded=not own[group[0]])
            for group in groups
        ]

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(*(lane.open() for lane in self._lanes))
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ):
        await self.close()

    async def close(self) -> None:
        await asyncio.gather(*(lane.close() for lane in self._lanes))

    async def check(self, problem: Problem, sample: Sample) -> list[Verdict]:
        """One verdict for each spec, in their order. Waits for free processes."""
        body = f'{{"problem":{problem.model_dump_json()},"sample":{sample.model_dump_json()}}}'.encode()
        if len(self._lanes) == 1:
            found = await self._lanes[0].check(sample.id, body)
        else:
            parts = await asyncio.gather(*(lane.check(sample.id, body) for lane in self._lanes))
            found = {i: verdict for part in parts for i, verdict in part.items()}
        return [found[i] for i in range(len(self.specs))]


class Lane:
    """A group of verifiers and the processes that run it."""

    def __init__(
        self, specs: dict[int, VerifierSpec], workers: int, timeout_s: float, memory_mb: int, *, guarded: bool
    ) -> None:
        self.order = list(specs)
        self.workers, self.timeout_s = workers, timeout_s
        self.setup: dict[str, Any] = {
            "verifiers": [[s.name, s.options] for s in specs.values()],
            "preload": [],
            "memory_mb": memory_mb,
            "guarded": guarded,
        }
        self.names: list[tuple[str, str]] = []
        self.jobs = 0
        self.idle: asyncio.LifoQueue[WorkerProcess | VerifierError] = asyncio.LifoQueue()
        self.alive: set[WorkerProcess] = set()
        self.tasks: set[asyncio.Task] = set()

    async def open(self) -> None:
        self.idle.put_nowait(await self.start())
        for _ in range(self.workers - 1):
            self.background(self.add())

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.gather(*(worker.kill() for worker in self.alive))
        self.alive.clear()

    def background(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def start(self) -> WorkerProcess:
        """Start a process and wait until its verifiers are loaded."""
        worker = await WorkerProcess.start(self.setup)
        self.alive.add(worker)
        names = ", ".join(name for name, _ in self.setup["verifiers"])
        try:
            while (reply := await worker.read(START_LIMIT_S))[0] in ("loading", "loaded"):
                pass
            kind, *rest = reply
            if kind == "error":
                raise (ConfigError if rest[0] == "config" else VerifierError)(rest[1])
            self.names = [(name, version) for name, version in rest[0]]
        except (WorkerDied, TimeoutError) as error:
            await self.discard(worker)
            raise VerifierError(f"verifiers {names} did not start: {error or 'no answer in a minute'}") from error
        except BaseException:
            await self.discard(worker)
            raise
        return worker

    async def add(self) -> None:
        """Start one more process, or after a few failures tell all who wait for one."""
        for attempt in range(START_ATTEMPTS):
            try:
                self.idle.put_nowait(await self.start())
                return
            except (VerifierError, ConfigError, OSError) as error:
                if attempt == START_ATTEMPTS - 1:
                    self.idle.put_nowait(VerifierError(str(error)))
                await asyncio.sleep(0.5)

    async def discard(self, worker: WorkerProcess) -> None:
        await worker.kill()
        self.alive.discard(worker)

    async def replace(self, worker: WorkerProcess) -> None:
        await self.discard(worker)
        await self.add()

    async def check(self, sample_id: str, body: bytes) -> dict[int, Verdict]:
        """Verdicts by spec index; after a kill, the verifiers that had no turn go to another process."""
        found: dict[int, Verdict] = {}
        todo = list(range(len(self.order)))
        while todo:
            worker = await self.idle.get()
            if isinstance(worker, VerifierError):
                self.idle.put_nowait(worker)
                raise VerifierError(str(worker))
            healthy = False
            try:
                healthy = await self.ask(worker, sample_id, body, todo, found)
            finally:
                if healthy and worker.wear < MAX_WEAR:
                    self.idle.put_nowait(worker)
                else:
                    self.background(self.replace(worker))
            todo = [i for i in todo if self.order[i] not in found]
        return found

    async def ask(
        self, worker: WorkerProcess, sample_id: str, body: bytes, todo: list[int], found: dict[int, Verdict]
    ) -> bool:
        """Send one request and read its verdicts into `found`. Returns whether the worker can be used again."""
        self.jobs += 1
        job = self.jobs
        await worker.send(b"%d %s %s" % (job, ",".join(map(str, todo)).encode(), body))
        for index in todo:
            start = time.monotonic()
            try:
                fields = self.parse(await self.reply(worker), job, index)
            except TimeoutError:
                detail = f"ended after {self.timeout_s:g} s"
                fields = (Status.UNVERIFIABLE, Reason.TIMEOUT, detail, time.monotonic() - start)
            except WorkerDied as error:
                fields = (Status.UNVERIFIABLE, Reason.VERIFIER_ERROR, str(error), time.monotonic() - start)
            else:
                worker.wear += 1 if fields[3] < SLOW_S else SLOW_WEAR
                found[self.order[index]] = self.verdict(sample_id, index, *fields)
                if fields[1] is Reason.RESOURCE_LIMIT:
                    return False
                continue
            found[self.order[index]] = self.verdict(sample_id, index, *fields)
            return False
        return True

    async def reply(self, worker: WorkerProcess) -> list[Any]:
        """The next verdict line. A heavy import is waited for, once a module and process; then the clock restarts."""
        while (reply := await worker.read(self.timeout_s))[0] == "loading":
            module = str(reply[1:])
            if module in worker.heavy or (await worker.read(START_LIMIT_S))[0] != "loaded":
                raise WorkerDied("it said that it was loading, and did not load")
            worker.heavy.add(module)
            if reply[1] not in self.setup["preload"]:
                self.setup["preload"].append(reply[1])
        return reply

    @staticmethod
    def parse(reply: list[Any], job: int, index: int) -> tuple[Status, Reason, str, float]:
        try:
            kind, its_job, its_index, status, reason, detail, seconds = reply
            if (kind, its_job, its_index) == ("verdict", job, index) and isinstance(detail, str) and seconds >= 0:
                return Status(status), Reason(reason), detail, float(seconds)
        except (ValueError, TypeError):
            pass
        raise WorkerDied("it answered with something that is not this job's verdict")

    def verdict(
        self, sample_id: str, index: int, status: Status, reason: Reason, detail: str, seconds: float
    ) -> Verdict:
        name, version = self.names[index]
        return Verdict(
            sample_id=sample_id,
            verifier=name,
            version=version,
            status=status,
            reason=reason,
            detail=detail,
            seconds=round(seconds, 6),
        )
