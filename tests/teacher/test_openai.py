"""The OpenAI-compatible engine: one shape out of many servers' replies, and patience with broken ones."""

import asyncio
import json
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from scripted import Endpoint

from rdistill.config import TeacherConfig
from rdistill.errors import PrerequisiteError, TeacherError
from rdistill.teacher import openai
from rdistill.teacher.engine import Completion, Request
from rdistill.teacher.openai import OpenAIEngine, probe_endpoint, read_completion

ASKED = [{"role": "user", "content": "What is 1 + 1?"}]
GOOD = {"choices": [{"message": {"content": "#### 2"}, "finish_reason": "stop"}], "usage": {"completion_tokens": 2}}


def make_config(url: str = "http://127.0.0.1:1/v1", **fields: Any) -> TeacherConfig:
    return TeacherConfig(engine="openai", model="m", base_url=url, **{"timeout_s": 20, **fields})


def ask(*replies: Any, config: TeacherConfig | None = None, times: int = 1) -> tuple[list[Completion], list[dict]]:
    """Ask an engine whose server gives these replies (the last one for ever); returns completions and bodies."""
    bodies: list[dict] = []

    def serve(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        reply = replies[min(len(bodies), len(replies)) - 1]
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, httpx.Response) else httpx.Response(200, json=reply)

    async def work() -> list[Completion]:
        engine = OpenAIEngine(config or make_config(), httpx.MockTransport(serve))
        found = [await engine.chat(ASKED, Request(temperature=0.5, max_tokens=9, index=n)) for n in range(times)]
        await engine.close()
        return found

    return asyncio.run(work()), bodies


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openai, "MAX_PAUSE_S", 0.01)


def message(**fields: Any) -> dict:
    return {"choices": [{"message": fields, "finish_reason": "stop"}]}


def test_a_request_says_all_that_shapes_the_reply() -> None:
    (_, other), bodies = ask(GOOD, times=2)
    assert bodies[0]["messages"] == ASKED and bodies[0]["model"] == "m" and bodies[0]["logprobs"] is True
    assert (bodies[0]["temperature"], bodies[0]["top_p"], bodies[0]["max_tokens"]) == (0.5, 1.0, 9)
    assert bodies[0]["seed"] != bodies[1]["seed"] and "stop" not in bodies[0]
    assert (other.text, other.completion_tokens, other.logprobs) == ("#### 2", 2, None)


@pytest.mark.parametrize(
    ("fields", "reasoning", "text"),
    [
        ({"content": "a", "reasoning_content": "why"}, "why", "a"),
        ({"content": "a", "reasoning": "why"}, "why", "a"),
        ({"content": "<think>why</think>\n\na"}, "why", "a"),
        ({"content": "why</think>a"}, "why", "a"),
        ({"content": "a", "reasoning_content": None, "reasoning": ""}, None, "a"),
        ({"content": None, "reasoning_content": "why"}, "why", ""),
        ({"content": [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]}, None, "ab"),
    ],
)
def test_reasoning_is_found_wherever_it_stands(fields: dict, reasoning: str | None, text: str) -> None:
    found = read_completion(message(**fields), 0.0)
    assert (found.reasoning, found.text, found.finish_reason) == (reasoning, text, "stop")


def test_unfinished_thinking_counts_as_cut_short() -> None:
    found = read_completion(message(content="<think>and on and"), 0.0)
    assert (found.reasoning, found.text, found.finish_reason) == ("and on and", "", "length")


@pytest.mark.parametrize("arguments", ['{"expression": "6 * 7"}', {"expression": "6 * 7"}])
def test_structured_tool_calls_become_text(arguments: Any) -> None:
    from rdistill.tools import parse_tool_calls

    call = {"id": "1", "type": "function", "function": {"name": "calculator", "arguments": arguments}}
    found = read_completion(message(content="Let me see. ", tool_calls=[call, call]), 0.0)
    first, second = parse_tool_calls(found.text)
    assert first.name == second.name == "calculator" and first.arguments == {"expression": "6 * 7"}


def test_log_probabilities_keep_their_tokens() -> None:
    reply = message(content="#### 2")
    reply["choices"][0]["logprobs"] = {"content": [{"token": "####", "logprob": -0.5}, {"token": " 2", "logprob": -1}]}
    found = read_completion(reply, 0.0)
    assert (found.tokens, found.logprobs) == (["####", " 2"], [-0.5, -1.0])


def test_text_that_utf8_cannot_hold_is_replaced() -> None:
    found = read_completion(message(content="a \ud800 b"), 0.0)
    assert found.text == "a ? b" and found.model_dump_json()


BROKEN = {
    "busy": httpx.Response(429, text="slow down", headers={"retry-after": "0"}),
    "down": httpx.Response(503, text="starting"),
    "error": httpx.Response(500, text="oops"),
    "garbled": httpx.Response(200, content=b'{"choices": [{"mess'),
    "html": httpx.Response(200, text="<html>"),
    "not utf-8": httpx.Response(200, content=b"\xff\xfe"),
    "no choices": {"choices": []},
    "error object": {"error": {"message": "later"}},
    "a list": [1],
    "null message": {"choices": [{"message": None}]},
    "text of numbers": message(content=5),
    "odd usage": message(content="x") | {"usage": {"prompt_tokens": "many"}},
    "no connection": httpx.ConnectError("refused"),
    "reset": httpx.ReadError("reset"),
    "cut off": httpx.RemoteProtocolError("closed"),
    "broken off": {"choices": [{"message": {"content": "#### 1"}, "finish_reason": "error"}]},
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_may_pass_is_asked_again(name: str) -> None:
    (found,), bodies = ask(BROKEN[name], BROKEN[name], GOOD)
    assert found.text == "#### 2" and len(bodies) == 3
    assert bodies[0] == bodies[2], "the same request, with the same seed"


def test_patience_ends_with_an_empty_completion_that_says_why() -> None:
    (found,), bodies = ask(BROKEN["error"])
    assert (found.text, found.finish_reason, len(bodies)) == ("", "failed", 10)
    place = "teacher.base_url='http://127.0.0.1:1/v1'"
    assert found.fault == f"{place} failed 10 times, the last: HTTP 500: oops"


def test_a_server_that_hangs_costs_the_deadline_and_no_more() -> None:
    async def hang(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError

    async def work() -> Completion:
        engine = OpenAIEngine(make_config(timeout_s=0.5), httpx.MockTransport(hang))
        return await engine.chat(ASKED, Request(temperature=0, max_tokens=9))

    started = time.monotonic()
    found = asyncio.run(work())
    assert found.finish_reason == "failed" and "of teacher.timeout_s=0.5 seconds" in (found.fault or "")
    assert time.monotonic() - started < 1.5


def test_a_request_that_stalls_is_asked_again_before_its_time_is_up() -> None:
    asked: list[float] = []

    async def stall_once(request: httpx.Request) -> httpx.Response:
        asked.append(time.monotonic())
        if len(asked) < 3:
            await asyncio.sleep(60)
        return httpx.Response(200, json=GOOD)

    async def work() -> Completion:
        engine = OpenAIEngine(make_config(timeout_s=2), httpx.MockTransport(stall_once))
        return await engine.chat(ASKED, Request(temperature=0, max_tokens=9))

    assert asyncio.run(work()).text == "#### 2"
    assert 0.9 < asked[1] - asked[0] < 1.4 and 0.4 < asked[2] - asked[1] < 0.9


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_refusal_is_not_asked_again(status: int) -> None:
    with pytest.raises(TeacherError, match=rf"refuses the request \(HTTP {status}: no\); check teacher.model"):
        ask(httpx.Response(status, text="no"), GOOD)


def test_a_parameter_that_the_server_refuses_is_left_out_from_then_on() -> None:
    refusal = httpx.Response(400, json={"error": "logprobs is not supported with this model"})
    found, bodies = ask(refusal, GOOD, times=3)
    assert len(found) == 3 and ["logprobs" in b for b in bodies] == [True, False, False, False]
    _, bodies = ask(httpx.Response(422, text="unknown field: seed, logprobs"), GOOD)
    assert not {"seed", "logprobs"} & set(bodies[1])


NOT_MAX_TOKENS = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
NOT_TEMPERATURE = (
    "Unsupported value: 'temperature' does not support 0.5 with this model. Only the default (1) is supported."
)


def test_a_parameter_that_has_another_name_is_sent_under_that() -> None:
    found, bodies = ask(httpx.Response(400, text=NOT_MAX_TOKENS), GOOD, times=2)
    assert [c.text for c in found] == ["#### 2"] * 2
    assert [(b.get("max_tokens"), b.get("max_completion_tokens")) for b in bodies] == [(9, None), (None, 9), (None, 9)]


def test_refusals_of_one_parameter_after_the_other_are_all_met() -> None:
    refusals = [NOT_MAX_TOKENS, NOT_TEMPERATURE, "top_p is not allowed", "logprobs is not supported"]
    found, bodies = ask(*[httpx.Response(400, text=r) for r in refusals], GOOD, times=2)
    assert [c.text for c in found] == ["#### 2"] * 2 and len(bodies) == 6
    assert {*bodies[-1]} == {"model", "messages", "max_completion_tokens", "seed"}


def test_a_temperature_that_the_model_does_not_take_is_warned_of() -> None:
    replies = iter([httpx.Response(400, text=NOT_TEMPERATURE)])

    async def work() -> list[str]:
        transport = httpx.MockTransport(lambda request: next(replies, httpx.Response(200, json=GOOD)))
        engine = OpenAIEngine(make_config(), transport)
        for index in range(3):
            await engine.chat(ASKED, Request(temperature=0.5, max_tokens=9, index=index))
        return engine.warnings

    (warning,) = asyncio.run(work())
    assert warning.startswith("'m' does not take temperature=0.5 (HTTP 400: Unsupported value")


def test_a_model_that_thinks_to_its_limit_is_cut_short() -> None:
    said = "Could not finish the message because max_tokens or model output limit was reached."
    (found,), _ = ask(httpx.Response(400, text=said))
    assert (found.text, found.finish_reason, found.fault) == ("", "length", None)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_conversation_is_an_empty_completion_that_says_why(status: int) -> None:
    (refused, other), bodies = ask(httpx.Response(status, text="content\n\x1b[31mfilter"), GOOD, times=2)
    assert (refused.text, refused.finish_reason, refused.completion_tokens) == ("", "refused", 0)
    assert refused.fault == f"HTTP {status}: content \ufffd[31mfilter"
    assert (other.finish_reason, other.fault, len(bodies)) == ("stop", None, 2)


def test_a_refusal_that_was_not_about_a_parameter_leaves_it_in() -> None:
    refusal = httpx.Response(400, text="content filter: a seed of doubt")
    (first, second), bodies = ask(refusal, refusal, GOOD, times=2)
    assert (first.finish_reason, first.fault) == ("refused", "HTTP 400: content filter: a seed of doubt")
    assert ["seed" in b for b in bodies] == [True, False, True] and second.text == "#### 2"


@pytest.mark.parametrize(
    "text",
    [
        "This model's maximum context length is 2048 tokens, however you requested 4000",
        '{"code": "context_length_exceeded"}',
        "the prompt is too long",
    ],
)
def test_a_prompt_too_long_for_the_server_is_a_sample_cut_short(text: str) -> None:
    (found,), _ = ask(httpx.Response(400, text=text))
    assert (found.text, found.finish_reason) == ("", "length")


@pytest.mark.slow
def test_a_real_server_with_faults_answers_everything_in_the_end() -> None:
    dice, over = random.Random(0), threading.Event()

    def stall() -> None:
        over.wait(60)

    faults: list[Callable[[], tuple[int, bytes] | None]] = [
        *[lambda: (500, b"oops")] * 2,
        lambda: (429, b"busy"),
        *[lambda: (200, b'{"choices')] * 2,
        stall,
        *[lambda: None] * 14,
    ]

    async def work(url: str) -> list[Completion]:
        engine, slots = OpenAIEngine(make_config(url, concurrency=16, timeout_s=8)), asyncio.Semaphore(16)

        async def one(index: int) -> Completion:
            async with slots, asyncio.timeout(9):
                return await engine.chat(ASKED, Request(temperature=1, max_tokens=9, index=index))

        found = await asyncio.gather(*(one(n) for n in range(200)))
        await engine.close()
        return found

    with Endpoint(broken=lambda n: dice.choice(faults)()) as endpoint:
        found = asyncio.run(work(endpoint.url))
        first = [c.text for c in found]
        assert not [c.fault for c in found if c.fault]
        assert len(first) == 200 and endpoint.requests > 220 and len(endpoint.asked) == 200
        assert first == [c.text for c in asyncio.run(work(endpoint.url))], "the seed decides, not the order"
        over.set()


def test_the_probe_tells_what_to_change() -> None:
    with Endpoint() as endpoint:
        probe_endpoint(make_config(endpoint.url))
        probe_endpoint(make_config(endpoint.url + "/"))
    for url, part in ((endpoint.url, "start the server"), ("http://[::bad/v1", "correct the address")):
        with pytest.raises(PrerequisiteError, match=part):
            probe_endpoint(make_config(url))


class Particular(Endpoint):
    """Wants max_completion_tokens, and then says that one token is too few to think."""

    def answer(self, body: dict) -> tuple[int, bytes]:
        self.requests += 1
        said = NOT_MAX_TOKENS if "max_tokens" in body else "Could not finish the message because max_tokens was reached"
        return 400, json.dumps({"error": {"message": said}}).encode()


def test_the_probe_speaks_as_the_model_wants() -> None:
    with Particular() as endpoint:
        probe_endpoint(make_config(endpoint.url))
        assert endpoint.requests == 2  # as usual, then in the model's words


def test_the_probe_waits_for_a_busy_endpoint() -> None:
    with Endpoint(broken=lambda n: (429, b"busy") if n < 2 else None) as endpoint:
        with pytest.raises(PrerequisiteError, match=r"HTTP 429 .* wait until it is less busy"):
            probe_endpoint(make_config(endpoint.url), 0.5)
        endpoint.requests = 0
        probe_endpoint(make_config(endpoint.url), 5)


def test_a_slow_endpoint_is_not_called_dead() -> None:
    with Endpoint(latency_s=0.5) as endpoint:
        with pytest.raises(PrerequisiteError, match=r"gave no token in 0.1 s; wait until it is less busy"):
            probe_endpoint(make_config(endpoint.url), 0.1)
        probe_endpoint(make_config(endpoint.url), 5)


def test_the_identity_changes_with_the_model_and_not_with_its_place() -> None:
    def identity(**fields: Any) -> str:
        return OpenAIEngine(make_config(**fields)).identity

    assert identity() == identity(url="https://other:8001/v1/") == "openai:m@main"
    assert identity(revision="2") == "openai:m@2"
