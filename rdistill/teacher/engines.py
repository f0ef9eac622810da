"""Start the engine that a config names."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

from rdistill.config import Config, VllmConfig
from rdistill.teacher.engine import Engine, LocalEngine

START_S = 60.0
"""Seconds that a run waits for an endpoint's first token: it may be loading, or busy."""


async def start_teacher(config: Config) -> Engine:
    """The teacher's engine. Raises PrerequisiteError or TeacherError if it cannot serve."""
    teacher = config.teacher
    if teacher.engine == "openai":
        from rdistill.teacher.openai import OpenAIEngine, probe_endpoint

        await asyncio.to_thread(probe_endpoint, teacher, START_S)
        return OpenAIEngine(teacher)
    return await start_vllm(
        teacher.model, teacher.revision, teacher.vllm, seed=config.seed, timeout_s=teacher.timeout_s
    )


async def start_vllm(
    model: str, revision: str | None, options: VllmConfig, *, seed: int = 0, timeout_s: float = 300
) -> LocalEngine:
    """A vLLM engine for any model, student or teacher."""
    from rdistill.teacher.vllm import VllmEngine

    return await VllmEngine.start(model, revision, options, seed=seed, timeout_s=timeout_s)


async def start_student(model: str, revision: str | None, config: Config) -> Engine:
    """A student's engine: it fits one device, whatever its teacher needs."""
    options = config.teacher.vllm.model_copy(update={"tensor_parallel_size": 1})
    return await start_vllm(model, revision, options, seed=config.seed, timeout_s=config.teacher.timeout_s)


@asynccontextmanager
async def serving(starting: Awaitable[Engine]) -> AsyncIterator[Engine]:
    """Wait for an engine to start, and free it at the end."""
    engine = await starting
    try:
        yield engine
    finally:
        await engine.close()
