"""A group of verifiers and the processes that run it: one request at a time each, killed past its limit, replaced.

A check that passes its time limit is ended by SIGKILL; time spent waiting for a free process, or on a heavy first
import, does not count. The clock starts when a worker has the job: it is idle when the job is sent, and one that is too
long to fit into a pipe at once is waited for until the worker has said that it read it.
"""

import asyncio
import math
import time
from collections.abc import Coroutine
from typing import Any, NamedTuple

from rdistill.config import VerifierSpec
from rdistill.errors import ConfigError, PrerequisiteError, RdistillError, VerifierError
from rdistill.records import Problem, Reason, Sample, Status, Verdict
from rdistill.verifiers.process import WorkerDied, WorkerProcess
from rdistill.verifiers.protocol import LONG

START_LIMIT_S = 60
"""Longest start or heavy import of a worker."""
MIN_JOBS, MAX_START_SHARE, JOB_S = 300, 0.03, 0.0002
"""A worker is recycled after 300 jobs (sympy's caches grow), or as many more as it takes for its start to have cost 3 %
of its work. A start takes 0.5 s and a plain number 0.2 ms (JOB_S) beside its check: to recycle after 1,000 of these
would double what they cost, after 20,000 add 6 %; it is done after some 50,000, and after 300 that take 50 ms each."""
START_ATTEMPTS = 3
REFUSALS: dict[str, type[RdistillError]] = {"ConfigError": ConfigError, "PrerequisiteError": PrerequisiteError}
"""Errors of a verifier's making that stay what they are; any other is a VerifierError."""

Fields = tuple[Status, Reason, str, float]
"""Status, reason, detail, seconds."""


class Job(NamedTuple):
    """A verifier's method to call on a problem and samples; each sample gets a verdict."""

    method: str
    body: bytes
    sample_ids: list[str]

    @classmethod
    def of(cls, method: str, problem: Problem, samples: list[Sample]) -> "Job":
        rows = ",".join(sample.model_dump_json() for sample in samples)
        body = f'{{"problem":{problem.model_dump_json()},"samples":[{rows}]}}'.encode()
        return cls(method, body, [sample.id for sample in samples])


def is_worn(worker: WorkerProcess) -> bool:
    """Whether a worker has done enough to be replaced."""
    return worker.jobs >= MIN_JOBS and worker.busy_s * MAX_START_SHARE >= worker.start_s


class Lane:
    """`specs` by their number in the config; `timeout_s` limits the check of one sample, where a spec does not."""

    def __init__(
        self,
        specs: dict[int, VerifierSpec],
        workers: int,
        timeout_s: float,
        memory_mb: int,
        *,
        guarded: bool,
        probe: bool,
    ) -> None:
        self.order = list(specs)
        self.workers = workers
        self.limits_s = [spec.timeout_s or timeout_s for spec in specs.values()]
        self.setup: dict[str, Any] = {
            "verifiers": [[s.name, s.options] for s in specs.values()],
            "preload": [],
            "memory_mb": memory_mb,
            "guarded": guarded,
            "probe": probe,
        }
        self.names: list[tuple[str, str]] = []
        self.sandboxes: list[str | None] = []
        self.methods: dict[int, list[str]] = {}
        """The optional methods of each verifier, once a process has started."""
        self.jobs = 0
        self.idle: asyncio.LifoQueue[WorkerProcess | VerifierError] = asyncio.LifoQueue()
        self.alive: set[WorkerProcess] = set()
        self.tasks: set[asyncio.Task] = set()
        self.is_closed = False

    async def open(self) -> None:
        self.idle.put_nowait(await self.start())
        self.setup["probe"] = False  # once is enough
        for _ in range(self.workers - 1):
            self.background(self.add())

    async def close(self) -> None:
        """Kill every process, and start none any more for those who still wait for one."""
        self.is_closed = True
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await asyncio.gather(*(worker.kill() for worker in self.alive))
        self.alive.clear()
        self.idle.put_nowait(VerifierError("the verifier pool is closed"))

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        if self.is_closed:
            work.close()
            return
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def start(self) -> WorkerProcess:
        """Start a process and wait until its verifiers are loaded."""
        start = time.monotonic()
        worker = await WorkerProcess.start(self.setup)
        self.alive.add(worker)
        names = ", ".join(name for name, _ in self.setup["verifiers"])
        try:
            while (reply := await worker.read(START_LIMIT_S))[0] in ("loading", "loaded"):
                pass
            kind, *rest = reply
            if kind == "error":
                raise REFUSALS.get(rest[0], VerifierError)(rest[1])
            self.names = [(name, version) for name, version, _, _ in rest[0]]
            self.methods = {index: row[2] for index, row in zip(self.order, rest[0], strict=True)}
            self.sandboxes = [level for _, _, _, level in rest[0]]
        except (WorkerDied, TimeoutError) as error:
            await self.discard(worker)
            raise VerifierError(f"verifiers {names} did not start: {error or 'no answer in a minute'}") from error
        except BaseException:
            await self.discard(worker)
            raise
        worker.start_s = time.monotonic() - start
        return worker

    async def add(self) -> None:
        """Start one more process, or after a few failures tell all who wait for one."""
        for attempt in range(START_ATTEMPTS):
            try:
                self.idle.put_nowait(await self.start())
                return
            except (RdistillError, OSError) as error:
                if attempt == START_ATTEMPTS - 1:
                    self.idle.put_nowait(VerifierError(str(error)))
                await asyncio.sleep(0.5)

    async def discard(self, worker: WorkerProcess) -> None:
        await worker.kill()
        self.alive.discard(worker)

    async def replace(self, worker: WorkerProcess) -> None:
        await self.discard(worker)
        await self.add()

    async def do(self, job: Job, wanted: list[int]) -> dict[int, list[Verdict]]:
        """A verdict on each sample by each wanted spec (by number); what had no turn before a kill is asked again."""
        found: dict[int, list[Verdict]] = {}
        todo = [place for place, index in enumerate(self.order) if index in wanted]
        while todo:
            worker = await self.idle.get()
            if isinstance(worker, VerifierError):
                self.idle.put_nowait(worker)
                raise VerifierError(str(worker))
            healthy = False
            try:
                healthy = await self.ask(worker, job, todo, found)
            finally:
                if healthy and not is_worn(worker):
                    self.idle.put_nowait(worker)
                else:
                    self.background(self.replace(worker))
            todo = [place for place in todo if self.order[place] not in found]
        return found

    async def ask(self, worker: WorkerProcess, job: Job, todo: list[int], found: dict[int, list[Verdict]]) -> bool:
        """Send one request and read its verdicts into `found`. Returns whether the worker can be used again."""
        self.jobs += 1
        number = self.jobs
        places = ",".join(map(str, todo)).encode()
        await worker.send(b"%d %s %s %s" % (number, job.method.encode(), places, job.body))
        worker.jobs += 1
        for place in todo:
            fields, is_alive = await self.read(worker, job, number, place, is_first=place == todo[0])
            found[self.order[place]] = [
                self.verdict(sample_id, place, *f) for sample_id, f in zip(job.sample_ids, fields, strict=True)
            ]
            if not is_alive or any(reason is Reason.RESOURCE_LIMIT for _, reason, _, _ in fields):
                return False
        return True

    async def read(
        self, worker: WorkerProcess, job: Job, number: int, place: int, *, is_first: bool
    ) -> tuple[list[Fields], bool]:
        """One verifier's verdicts on all samples, and whether the worker lived to give them."""
        start = time.monotonic()
        limit_s = self.limits_s[place] * len(job.sample_ids)
        try:
            if is_first and len(job.body) > LONG and await worker.read(START_LIMIT_S) != ["taken", number]:
                raise WorkerDied("it did not say that it took the job")
            replies = [await self.reply(worker, limit_s) for _ in job.sample_ids]
            fields = [self.parse(reply, number, place) for reply in replies]
        except TimeoutError:
            failure = (Status.UNVERIFIABLE, Reason.TIMEOUT, f"ended after {limit_s:g} s", time.monotonic() - start)
            return [failure] * len(job.sample_ids), False
        except WorkerDied as error:
            failure = (Status.UNVERIFIABLE, Reason.VERIFIER_ERROR, str(error), time.monotonic() - start)
            return [failure] * len(job.sample_ids), False
        worker.busy_s += fields[0][3] + JOB_S
        return fields, True

    async def reply(self, worker: WorkerProcess, limit_s: float) -> list[Any]:
        """The next verdict line. A heavy import is waited for, once a module and process; then the clock restarts."""
        while (reply := await worker.read(limit_s))[0] == "loading":
            module = str(reply[1:])
            if module in worker.heavy or (await worker.read(START_LIMIT_S))[0] != "loaded":
                raise WorkerDied("it said that it was loading, and did not load")
            worker.heavy.add(module)
            if reply[1] not in self.setup["preload"]:
                self.setup["preload"].append(reply[1])
        return reply

    @staticmethod
    def parse(reply: list[Any], number: int, place: int) -> Fields:
        try:
            kind, its_number, its_place, status, reason, detail, seconds = reply
            if (kind, its_number, its_place) == ("verdict", number, place) and 0 <= seconds < math.inf:
                # What UTF-8 cannot hold, such as half a surrogate pair, the ledger cannot either.
                return Status(status), Reason(reason), detail.encode(errors="replace").decode(), float(seconds)
        except (ValueError, TypeError, AttributeError):
            pass
        raise WorkerDied("it answered with something that is not this job's verdict")

    def verdict(
        self, sample_id: str, place: int, status: Status, reason: Reason, detail: str, seconds: float
    ) -> Verdict:
        name, version = self.names[place]
        return Verdict(
            sample_id=sample_id,
            verifier=name,
            version=version,
            status=status,
            reason=reason,
            detail=detail,
            seconds=round(seconds, 6),
            sandbox=self.sandboxes[place],
        )
