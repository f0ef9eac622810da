"""An engine that is started by the first request, once, or never."""

import asyncio

from scripted import Reply, ScriptedEngine

from rdistill.errors import TeacherError
from rdistill.teacher.engine import Request
from rdistill.teacher.engines import Postponed

ASKED = [{"role": "user", "content": "1 + 1?"}]
REQUEST = Request(temperature=0, max_tokens=9)


class Starts:
    def __init__(self, error: TeacherError | None = None) -> None:
        self.count, self.error = 0, error
        self.engine = ScriptedEngine(lambda messages, request: Reply("2"))

    async def __call__(self) -> ScriptedEngine:
        self.count += 1
        await asyncio.sleep(0.01)
        if self.error is not None:
            raise self.error
        return self.engine


def test_many_first_requests_start_one_engine() -> None:
    async def work() -> None:
        starts = Starts()
        engine = Postponed("name", starts)
        assert (engine.identity, engine.ready_at) == ("name", 0)
        replies = await asyncio.gather(*(engine.chat(ASKED, REQUEST) for _ in range(5)))
        assert [r.text for r in replies] == ["2"] * 5 and starts.count == 1 and engine.ready_at > 0
        await engine.close()
        assert starts.engine.is_closed

    asyncio.run(work())


def test_an_engine_that_nobody_asks_is_not_started() -> None:
    starts = Starts()
    asyncio.run(Postponed("name", starts).close())
    assert starts.count == 0


def test_an_engine_that_cannot_start_is_not_tried_again_by_those_who_wait() -> None:
    async def work() -> None:
        starts = Starts(TeacherError("vLLM cannot start 'm'"))
        engine = Postponed("name", starts)
        found = await asyncio.gather(*(engine.chat(ASKED, REQUEST) for _ in range(5)), return_exceptions=True)
        assert [str(error) for error in found] == ["vLLM cannot start 'm'"] * 5 and starts.count == 1
        await engine.close()

    asyncio.run(work())
