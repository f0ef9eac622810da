"""A busy endpoint: nothing is lost before the deadline, and no more is in flight than it takes."""

import asyncio
import time
from email.utils import formatdate

import httpx
import pytest

from rdistill.config import TeacherConfig
from rdistill.errors import TeacherError
from rdistill.teacher import openai
from rdistill.teacher.engine import Completion, Request
from rdistill.teacher.flow import Flow
from rdistill.teacher.openai import OpenAIEngine, retry_after

ASKED = [{"role": "user", "content": "What is 1 + 1?"}]
GOOD = httpx.Response(200, json={"choices": [{"message": {"content": "#### 2"}, "finish_reason": "stop"}]})


def make_config(**fields: float) -> TeacherConfig:
    return TeacherConfig.model_validate({"engine": "openai", "model": "m", "base_url": "http://x/v1", **fields})


class Limited(httpx.AsyncBaseTransport):
    """Answers `per_s` requests a second and refuses the others. `most`: in flight at once; `sent`: all requests."""

    def __init__(self, per_s: float) -> None:
        self.per_s, self.room, self.last = per_s, 1.0, time.monotonic()
        self.sent = self.in_flight = self.most = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent += 1
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await asyncio.sleep(0.01)
        self.in_flight -= 1
        now = time.monotonic()
        self.room, self.last = min(1.0, self.room + (now - self.last) * self.per_s), now
        if self.room < 1:
            return httpx.Response(429, text="rate limit")
        self.room -= 1
        return httpx.Response(200, content=GOOD.content)


def ask_all(transport: httpx.AsyncBaseTransport, count: int, **fields: float) -> list[Completion]:
    async def work() -> list[Completion]:
        engine = OpenAIEngine(make_config(**fields), transport)
        slots = asyncio.Semaphore(int(fields.get("concurrency", 64)))

        async def one(index: int) -> Completion:
            async with slots:
                return await engine.chat(ASKED, Request(temperature=0, max_tokens=9, index=index))

        return await asyncio.gather(*map(one, range(count)))

    return asyncio.run(work())


def test_a_rate_limit_costs_time_and_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """60 a minute in the small: 20 times as fast, 600 seconds are 30, a pause of 10 is one of half a second."""
    monkeypatch.setattr(openai, "MAX_PAUSE_S", 0.5)
    monkeypatch.setattr(openai, "FIRST_PAUSE_S", 0.025)
    transport, started = Limited(per_s=20), time.monotonic()
    found = ask_all(transport, 80, concurrency=64, timeout_s=30)
    assert [c.fault for c in found if c.fault] == []
    assert transport.sent < 80 * 8 and time.monotonic() - started < 80 / 20 * 5, "few are in vain, most room is used"


def test_what_waits_for_others_does_not_run_out_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """32 requests take 1.6 seconds, of which each has one."""
    monkeypatch.setattr(openai, "MAX_PAUSE_S", 0.05)
    found = ask_all(Limited(per_s=20), 32, concurrency=32, timeout_s=1)
    assert [c.fault for c in found if c.fault] == []


def test_a_server_that_stays_busy_costs_the_deadline_for_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "MAX_PAUSE_S", 0.05)
    started = time.monotonic()
    transport = httpx.MockTransport(lambda request: httpx.Response(503, text="starting"))
    found = ask_all(transport, 16, concurrency=16, timeout_s=0.8)
    assert {c.finish_reason for c in found} == {"failed"} and time.monotonic() - started < 2
    assert any("the last: HTTP 503: starting" in (c.fault or "") for c in found)


def test_no_credit_ends_the_run_at_once() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(429, text='{"code": "insufficient_quota"}'))
    with pytest.raises(TeacherError, match=r"HTTP 429: .*insufficient_quota"):
        ask_all(transport, 1)


def test_a_request_that_no_minute_has_room_for_is_refused() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(429, text="Request too large for m: Limit 3"))
    (found,) = ask_all(transport, 1)
    assert found.finish_reason == "refused"


def test_a_pause_that_the_server_asks_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(openai.asyncio, "sleep", note)
    replies = [httpx.Response(429, headers={"retry-after": text}) for text in ("7", "soon", "2.5", "999")]
    waiting = iter([*replies[:3], GOOD, replies[3]])
    found = ask_all(httpx.MockTransport(lambda request: next(waiting)), 2, timeout_s=60, concurrency=1)
    assert pauses[0] == 7 and pauses[1] < 2.1 and pauses[2] >= 2.5
    assert "failed 1 times" in (found[1].fault or "")


def test_a_date_is_a_pause_too() -> None:
    later = httpx.Response(429, headers={"retry-after": formatdate(time.time() + 30, usegmt=True)})
    assert 25 < retry_after(later) <= 30
    odd = ("", "soon", "-5", "1e999", "9" * 20, "Mon, 99 Foo", formatdate(0))
    assert [retry_after(httpx.Response(429, headers={"retry-after": text})) for text in odd] == [0.0] * len(odd)


def test_a_burst_of_refusals_halves_the_flow_once_and_replies_widen_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("rdistill.teacher.flow.time.monotonic", lambda: now)
    flow = Flow(64)
    flow.refused(99.0)
    assert flow.limit == 64, "one is no burst"
    for _ in range(63):
        flow.refused(99.0)
    assert flow.limit == 32
    for _ in range(400):
        now += 0.01
        flow.answered()
    assert 32 < flow.limit < 48, "by one for each that many replies"
    now += 60
    for _ in range(40):
        flow.answered()
    assert flow.limit == 64


def test_now_and_then_a_refusal_narrows_nothing() -> None:
    flow = Flow(64)
    for _ in range(100):
        flow.refused(time.monotonic())
        for _ in range(9):
            flow.answered()
    assert flow.limit == 64
    for _ in range(200):
        flow.refused(time.monotonic())
    assert flow.limit == 1


def test_a_request_that_is_cancelled_in_line_leaves_its_room_to_others() -> None:
    async def work() -> int:
        flow = Flow(1)

        async def stay() -> None:
            async with flow.place():
                await asyncio.sleep(0.02)

        tasks = [asyncio.create_task(stay()) for _ in range(4)]
        await asyncio.sleep(0.01)
        tasks[1].cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        async with asyncio.timeout(1), flow.place():
            return sum(d is None for d in done)

    assert asyncio.run(work()) == 3
