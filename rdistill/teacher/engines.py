"""Start the engine that a config names."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

from rdistill.config import Config, VllmConfig
from rdistill.errors import RdistillError
from rdistill.records import Message
from rdistill.teacher.engine import Completion, Engine, LocalEngine, Request

START_S = 60.0
"""Seconds that a run waits for an endpoint's first token: it may be loading, or busy."""


class Postponed:
    """An Engine that starts at the first request: where every completion is at hand already, it never does."""

    def __init__(self, identity: str, start: Callable[[], Awaitable[Engine]]) -> None:
        self.identity = identity
        self.ready_at = 0.0
        """When it could answer, by time.monotonic()."""
        self._start, self._lock = start, asyncio.Lock()
        self._engine: Engine | None = None
        self._failure: RdistillError | None = None

    async def chat(self, messages: list[Message], request: Request) -> Completion:
        """As the engine. Raises what its start raised, too."""
        async with self._lock:
            engine = self._engine or await self._started()
        return await engine.chat(messages, request)

    async def _started(self) -> Engine:
        if self._failure is not None:
            raise self._failure  # those who waited do not try again
        try:
            self._engine = await self._start()
        except RdistillError as error:
            self._failure = error
            raise
        self.ready_at = time.monotonic()
        return self._engine

    async def close(self) -> None:
        if self._engine is not None:
            await self._engine.close()


async def start_teacher(config: Config) -> Engine:
    """The teacher's engine; vLLM's starts when it is needed.

    Raises: PrerequisiteError or TeacherError if it cannot serve.
    """
    teacher = config.teacher
    if teacher.engine == "openai":
        from rdistill.teacher.openai import OpenAIEngine, probe_endpoint

        await asyncio.to_thread(probe_endpoint, teacher, START_S)
        return OpenAIEngine(teacher)
    return postponed_vllm(teacher.model, teacher.revision, teacher.vllm, config)


async def start_vllm(
    model: str, revision: str | None, options: VllmConfig, *, seed: int = 0, timeout_s: float = 300
) -> LocalEngine:
    """A vLLM engine for any model, student or teacher."""
    from rdistill.teacher.vllm import VllmEngine

    return await VllmEngine.start(model, revision, options, seed=seed, timeout_s=timeout_s)


def postponed_vllm(model: str, revision: str | None, options: VllmConfig, config: Config) -> Postponed:
    """A vLLM engine that starts when it is needed. Raises: PrerequisiteError without vLLM or the model."""
    from rdistill.teacher.vllm import vllm_identity

    start = partial(start_vllm, model, revision, options, seed=config.seed, timeout_s=config.teacher.timeout_s)
    return Postponed(vllm_identity(model, revision, options), start)


async def start_student(model: str, revision: str | None, config: Config) -> Engine:
    """A student's engine, as start_teacher: it fits one device, whatever its teacher needs."""
    return postponed_vllm(model, revision, config.teacher.vllm.model_copy(update={"tensor_parallel_size": 1}), config)


@asynccontextmanager
async def serving(starting: Awaitable[Engine]) -> AsyncIterator[Engine]:
    """Wait for an engine to start, and free it at the end."""
    engine = await starting
    try:
        yield engine
    finally:
        await engine.close()
