"""Verifiers in persistent processes that can be killed.

    async with VerifierPool([VerifierSpec(name="math")], workers=2, timeout_s=5) as pool:
        verdicts = await pool.check(problem, sample)
        status = combine(verdicts, applicable(pool.specs, problem.domain), config.verify, problem.domain)

Each process answers one request at a time. A check that passes its limit of time or memory is ended by SIGKILL, with
all that it started, and its process replaced; time spent waiting for a free process, or on a heavy first import, does
not count. First-party verifiers share their processes; every plug-in has its own, so that a bad one changes nobody
else's verdicts.
"""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rdistill.config import VerifierSpec, VerifyConfig
from rdistill.records import Problem, Sample, Verdict
from rdistill.verifiers import registry
from rdistill.verifiers.composition import applicable
from rdistill.verifiers.lane import Job, Lane


class VerifierPool:
    """The verifiers of one run, `workers` processes for each group of them.

    timeout_s: seconds for one check by one verifier; memory_mb: MiB of address space for a process, and of resident
    memory for it and all that it started (a page that they share counts for each).
    `probe`: on entering, ask those that can tell whether what they depend on is at hand.
    Raises: ConfigError for an unknown name (at once) or refused options (on entering); on entering also VerifierError
    if a plug-in fails to import, and PrerequisiteError for what is not at hand; from `check`, VerifierError if its
    processes cannot be started any more.
    """

    def __init__(
        self,
        specs: Sequence[VerifierSpec],
        *,
        workers: int = 2,
        timeout_s: float = 5,
        memory_mb: int = 2048,
        probe: bool = False,
    ) -> None:
        self.specs = list(specs)
        for spec in self.specs:
            registry.require(spec.name)
        own = [registry.is_first_party(spec.name) for spec in self.specs]
        shared = [i for i, spec in enumerate(self.specs) if own[i] and spec.workers is None]
        groups = ([shared] if shared else []) + [[i] for i in range(len(self.specs)) if i not in shared]
        self._lanes = [
            Lane(
                {i: self.specs[i] for i in group},
                self.specs[group[0]].workers or workers,
                timeout_s,
                memory_mb,
                guarded=not own[group[0]],
                probe=probe,
            )
            for group in groups
        ]

    @classmethod
    def of(cls, verify: VerifyConfig, **changed: Any) -> Self:
        """The pool that a run's config asks for; `changed`: arguments to take instead."""
        limits = {"workers": verify.workers, "timeout_s": verify.timeout_s, "memory_mb": verify.memory_mb}
        return cls(**{"specs": verify.verifiers, **limits, **changed})

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
        """One verdict by each spec that is applicable to the problem's domain, in their order. Waits for processes."""
        wanted = self._applicable(problem)
        found = await self._do(Job.of("check", problem, [sample]), wanted)
        return [found[i][0] for i in wanted]

    async def check_gold(self, problem: Problem, stated: Sample) -> dict[int, Verdict]:
        """The verdicts, by number of the spec, of those verifiers that know what a usable gold is."""
        able = [i for i in self._applicable(problem) if "check_gold" in self._methods(i)]
        found = await self._do(Job.of("check_gold", problem, [stated]), able)
        return {i: verdicts[0] for i, verdicts in found.items()}

    async def check_group(self, problem: Problem, samples: list[Sample]) -> dict[int, list[Verdict]]:
        """The verdicts on each sample, by number of the spec, of the verifiers that judge a problem's samples together.

        The limit is that of as many checks as there are samples.
        """
        able = [i for i in self._applicable(problem) if "check_group" in self._methods(i)]
        return await self._do(Job.of("check_group", problem, samples), able) if able and samples else {}

    def _applicable(self, problem: Problem) -> list[int]:
        chosen = applicable(self.specs, problem.domain)
        return [i for i, spec in enumerate(self.specs) if spec in chosen]

    def _methods(self, number: int) -> list[str]:
        """The optional methods of a verifier of an open pool."""
        return next(lane.methods[number] for lane in self._lanes if number in lane.order)

    async def _do(self, job: Job, wanted: list[int]) -> dict[int, list[Verdict]]:
        lanes = [lane for lane in self._lanes if any(i in lane.order for i in wanted)]
        if len(lanes) == 1:
            return await lanes[0].do(job, wanted)
        parts = await asyncio.gather(*(lane.do(job, wanted) for lane in lanes))
        return {i: verdicts for part in parts for i, verdicts in part.items()}
