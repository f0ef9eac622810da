"""Drives the teacher over all problems: sample in rounds, verify, stop where a problem has what training needs.

Each problem is one coroutine; at most `teacher.concurrency` run at once, so memory stays flat however many problems
there are, and verification of one overlaps generation of the others. Every completion and every sample is in the ledger
before anything else sees it: a killed run repeats only what was in flight.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rdistill.config import Config
from rdistill.ledger import Ledger
from rdistill.records import Message, Problem, Reason, Sample, Status, Verdict, content_id
from rdistill.side_by_side import side_by_side
from rdistill.teacher.engine import FAILED, REFUSED, UNCLEAR, Completion, Engine, Request
from rdistill.teacher.faults import Patience
from rdistill.teacher.modes import Teacher
from rdistill.tools import Tool
from rdistill.verifiers.composition import applicable, combine
from rdistill.verifiers.pool import VerifierPool

HINTED = 1_000_000
"""Index of a problem's first hinted sample, so that the others' indices do not depend on hints."""
JUDGED_ROLES = ("answer", "draft", "revision")
UNJUDGED = {
    "length": (Reason.TRUNCATED, "the completion ended at its token limit"),
    "content_filter": (Reason.REQUEST_REFUSED, "the server's filter cut the reply"),
    REFUSED: (Reason.REQUEST_REFUSED, ""),
    FAILED: (Reason.NO_REPLY, ""),
    UNCLEAR: (Reason.TRUNCATED, ""),
}
"""What no verifier sees, by finish reason."""


class CachedEngine:
    """An engine whose completions are kept in the ledger under hash(engine identity, messages, request).

    `fresh` counts completions that were really asked for, `reused` those found in the ledger. A request that came to
    nothing is not kept, so another attempt asks again; `patience` ends a run in which too many do. `warnings` are the
    engine's.
    """

    def __init__(self, engine: Engine, ledger: Ledger, max_in_flight: int) -> None:
        self.identity = engine.identity
        self._engine, self._ledger = engine, ledger
        self._slots = asyncio.Semaphore(max_in_flight)
        self.fresh = self.reused = 0
        self.patience = Patience(engine.identity)
        self.warnings: list[str] = getattr(engine, "warnings", [])

    async def chat(self, messages: list[Message], request: Request) -> Completion:
        key = content_id("generation", self.identity, messages, request.model_dump(mode="json"))
        name = self.patience.begin(messages)
        if stored := self._ledger.generation(key):
            self.reused += 1
            completion = Completion.model_validate_json(stored)
        else:
            completion = await self._fresh(key, messages, request)
        self.patience.end(name, completion)
        return completion

    async def _fresh(self, key: str, messages: list[Message], request: Request) -> Completion:
        async with self._slots:
            completion = await self._engine.chat(messages, request)
            # On disk before its slot is free: a kill costs as many completions as there are slots, never more.
            if completion.fault is None:
                await self._ledger.put(generation=(key, completion.model_dump_json()))
        self.fresh += 1
        return completion

    @property
    def ready_at(self) -> float:
        """When the engine could answer, by time.monotonic(); 0 where nobody noted it."""
        return getattr(self._engine, "ready_at", 0.0)

    async def close(self) -> None:
        await self._engine.close()


@dataclass
class Tally:
    """What a generation run has done so far."""

    problems: int = 0
    solved: int = 0
    paired: int = 0
    samples: int = 0
    tokens: int = 0
    statuses: dict[str, int] = field(default_factory=dict)
    faults: list[Sample] = field(default_factory=list)

    def add(self, samples: list[Sample], statuses: list[Status | None]) -> None:
        self.samples += len(samples)
        self.faults += [s for s in samples if s.fault is not None]
        self.tokens += sum(s.usage["completion_tokens"] for s in samples)
        for status in statuses:
            if status is not None:
                self.statuses[status.value] = self.statuses.get(status.value, 0) + 1

    def summary(self) -> str:
        """A few words for a progress bar."""
        lost = f", {len(self.faults)} requests without a reply" if self.faults else ""
        return f"{self.solved} solved, {self.samples} samples, {self.tokens} tokens{lost}"


async def judge(problem: Problem, sample: Sample, pool: VerifierPool) -> list[Verdict]:
    """The verdict of each verifier for the problem's domain; what was cut short, or never came, is seen by none.

    A verdict carries the name that the config uses, whatever a plug-in calls itself.
    """
    specs = applicable(pool.specs, problem.domain)
    if sample.finish_reason not in UNJUDGED:
        verdicts = await pool.check(problem, sample)
        return [v.model_copy(update={"verifier": s.name}) for v, s in zip(verdicts, specs, strict=True)]
    reason, detail = UNJUDGED[sample.finish_reason]
    return [
        Verdict(
            sample_id=sample.id,
            verifier=spec.name,
            version="-",
            status=Status.UNVERIFIABLE,
            reason=reason,
            detail=sample.fault or detail,
        )
        for spec in specs
    ]


async def judge_together(problem: Problem, samples: list[Sample], pool: VerifierPool) -> list[Verdict]:
    """What the verifiers that judge a problem's samples together say of each; nothing where there are none.

    Takes the place of what `judge` had them say of a sample alone. What `judge` shows to none is left out.
    """
    whole = [s for s in samples if s.role in JUDGED_ROLES and s.finish_reason not in UNJUDGED]
    found = await pool.check_group(problem, whole)
    return [v.model_copy(update={"verifier": pool.specs[i].name}) for i, verdicts in found.items() for v in verdicts]


class Sampler:
    """Samples problems until each has `want_pass` passes and `want_fail` fails or its budget is spent."""

    def __init__(
        self, config: Config, engine: CachedEngine, ledger: Ledger, pool: VerifierPool, tools: dict[str, Tool]
    ) -> None:
        self._config, self._ledger, self._pool = config, ledger, pool
        self._patience = engine.patience
        self._teacher = Teacher(config, engine.chat, engine.identity, tools)
        self.tally = Tally()

    async def run(self, problems: Iterable[Problem], progress: Callable[[Tally], None] = lambda tally: None) -> Tally:
        """Sample every problem.

        Raises: TeacherError if the engine fails (or what verifiers and tools raised); all finished work is on disk.
        """

        async def work(problem: Problem) -> None:
            await self.sample(problem)
            progress(self.tally)

        await side_by_side(problems, work, self._config.teacher.concurrency)
        self._patience.conclude()
        return self.tally

    async def sample(self, problem: Problem) -> None:
        """One problem, in rounds; after each the verifiers that judge its samples together have their word."""
        teacher, work = self._config.teacher, _Work(problem)
        most = teacher.most_samples(problem.pool)
        passed = failed = 0
        for start in range(0, most, teacher.samples_per_round):
            await self._round(work, range(start, min(start + teacher.samples_per_round, most)))
            passed, failed = self._outcome(work)
            if work.is_refused or (passed >= teacher.want_pass and failed >= teacher.want_fail):
                break
        if most and not passed and not work.is_refused and problem.split == "train" and problem.gold is not None:
            for index in range(HINTED, HINTED + teacher.hints):
                await self._round(work, range(index, index + 1), hint=True)
                if (passed := self._outcome(work)[0]) > 0:
                    break
        self.tally.problems += 1
        self.tally.solved += passed > 0
        self.tally.paired += passed > 0 and failed > 0
        for chain in work.chains:
            self.tally.add(chain, [self._status(work, sample) for sample in chain])

    async def _round(self, work: "_Work", indices: range, *, hint: bool = False) -> None:
        """One chain of samples for each index, then the verdicts on all samples together."""
        async with asyncio.TaskGroup() as group:
            chains = [group.create_task(self._chain(work, index, hint)) for index in indices]
        work.chains += [chain.result() for chain in chains]
        samples = [sample for chain in work.chains for sample in chain]
        await self._keep(work, await judge_together(work.problem, samples, self._pool))

    async def _chain(self, work: "_Work", index: int, hint: bool) -> list[Sample]:
        """One chain of samples, written and judged."""
        samples = await self._teacher.samples(work.problem, index, hint=hint)
        await self._ledger.put(*samples)
        for sample in samples:
            if sample.fault is not None:
                print(f"problem {sample.problem_id}: {sample.finish_reason}: {sample.fault}", flush=True)
            if sample.role in JUDGED_ROLES:
                if (known := self._known(work, sample)) is not None:
                    work.verdicts[sample.id] = known
                else:
                    await self._keep(work, await judge(work.problem, sample, self._pool))
        return samples

    def _known(self, work: "_Work", sample: Sample) -> dict[str, Verdict] | None:
        """A sample's verdicts from before the run was cut off: a judge may not say the same again, and costs."""
        found = {v.verifier: v for v in self._ledger.rows(Verdict, sample_id=sample.id)}
        specs = applicable(self._pool.specs, work.problem.domain)
        return found if all(spec.name in found for spec in specs) else None

    async def _keep(self, work: "_Work", verdicts: list[Verdict]) -> None:
        if verdicts:
            await self._ledger.put(*verdicts)
        for verdict in verdicts:
            work.verdicts.setdefault(verdict.sample_id, {})[verdict.verifier] = verdict

    def _status(self, work: "_Work", sample: Sample) -> Status | None:
        """A sample's combined status; None for what is not judged."""
        if sample.role not in JUDGED_ROLES:
            return None
        specs = applicable(self._pool.specs, work.problem.domain)
        verdicts = work.verdicts[sample.id]
        return combine([verdicts[spec.name] for spec in specs], specs, self._config.verify, work.problem.domain)

    def _outcome(self, work: "_Work") -> tuple[int, int]:
        """How many chains hold a sample that passed, and how many one that failed; hinted ones count if they passed."""
        statuses = [[self._status(work, sample) for sample in chain] for chain in work.chains]
        return sum(Status.PASS in chain for chain in statuses), sum(Status.FAIL in chain for chain in statuses)


@dataclass
class _Work:
    """A problem's chains of samples so far, and the verdicts by sample id and verifier."""

    problem: Problem
    chains: list[list[Sample]] = field(default_factory=list)
    verdicts: dict[str, dict[str, Verdict]] = field(default_factory=dict)

    @property
    def is_refused(self) -> bool:
        """Its conversation is not accepted: to ask again is pointless."""
        return bool(self.chains) and all(chain[-1].finish_reason == REFUSED for chain in self.chains)
