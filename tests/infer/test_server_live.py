"""The chat-completions server on a real port: streams, clients that leave, too many at once, endless bodies."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from scripted import Reply
from serving import ASK, REASONED, LiveEngine, make_app, served

openai = pytest.importorskip("openai", reason="the openai client is not installed")
CHAT = "/v1/chat/completions"


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def events(body: dict[str, Any], app: Any) -> list[Any]:
    """What stands behind `data: ` in a stream."""
    with served(app) as url, httpx.stream("POST", url + CHAT, json=body) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = [line for line in response.iter_lines() if line]
    assert all(line.startswith("data: ") for line in lines)
    return [line.removeprefix("data: ") for line in lines]


def test_a_stream_is_framed_as_openais() -> None:
    body = {**ASK, "mode": "explain", "stream": True, "stream_options": {"include_usage": True}}
    *chunks, done = events(body, make_app())
    assert done == "[DONE]"
    *parts, last, cost = map(json.loads, chunks)
    assert len({c["id"] for c in (*parts, last, cost)}) == 1
    assert {c["object"] for c in (*parts, last, cost)} == {"chat.completion.chunk"}
    deltas = [p["choices"][0]["delta"] for p in parts]
    assert deltas[0] == {"role": "assistant", "content": ""} and len(deltas) == 3
    assert "".join(d["content"] for d in deltas) == REASONED
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert last["rdistill"]["mode"] == "explain" and last["rdistill"]["finished"] is True
    assert cost["choices"] == [] and cost["usage"]["total_tokens"] == 16


@pytest.mark.parametrize(("mode", "pieces"), [("direct", ["", "7"]), ("hidden", ["", "7"]), ("tool", ["", "7"])])
def test_an_answer_that_only_a_whole_reply_tells_is_one_piece(mode: str, pieces: list[str]) -> None:
    *chunks, last, _ = events({**ASK, "mode": mode, "stream": True, "include_reasoning": True}, make_app())
    assert [json.loads(c)["choices"][0]["delta"]["content"] for c in chunks] == pieces
    reasoning = "Adding three and four." if mode == "hidden" else None
    assert json.loads(last)["choices"][0]["delta"] == {"reasoning_content": reasoning}


def test_a_fault_before_the_first_piece_has_its_status_and_one_after_it_is_an_event() -> None:
    body = {**ASK, "mode": "explain", "stream": True}
    with served(make_app(LiveEngine(fail_at=1))) as url:
        assert httpx.post(url + CHAT, json=body).status_code == 500
    slow = make_app(LiveEngine(delay_s=0.3), timeout_s=0.45)
    *_, last = events(body, slow)
    assert json.loads(last)["error"]["message"] == "no answer within 0.45 s; ask for fewer tokens"


@pytest.fixture
def sdk() -> Iterator[Any]:
    with served(make_app(api_key="s3cret")) as url:
        yield openai.OpenAI(base_url=f"{url}/v1", api_key="s3cret", max_retries=0)


def test_the_openai_client_reads_answers_streams_and_errors(sdk: Any) -> None:
    found = sdk.chat.completions.create(model="run", messages=ASK["messages"], extra_body={"mode": "hidden"})
    assert found.choices[0].message.content == "7" and found.rdistill["mode"] == "hidden"
    again = sdk.chat.completions.create(
        model="run:explain", messages=[*ASK["messages"], found.choices[0].message, *ASK["messages"]]
    )
    assert again.choices[0].message.content == REASONED and again.usage.completion_tokens == 6
    options = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(sdk.chat.completions.create(model="run:explain", messages=ASK["messages"], **options))
    assert "".join(c.choices[0].delta.content or "" for c in chunks[:-1]) == REASONED
    assert chunks[-1].usage.completion_tokens == 6 and chunks[-2].choices[0].finish_reason == "stop"
    assert [m.id for m in sdk.models.list()][:2] == ["run", "run:concise"]
    with pytest.raises(openai.NotFoundError, match="model='gpt-4' is not served here"):
        sdk.chat.completions.create(model="gpt-4", messages=ASK["messages"])
    with pytest.raises(openai.BadRequestError, match="temperature=3"):
        sdk.chat.completions.create(model="run", messages=ASK["messages"], temperature=3)
    with pytest.raises(openai.AuthenticationError, match="no valid API key"):
        sdk.with_options(api_key="wrong").models.list()


@pytest.mark.parametrize(
    "changes", [{"mode": "hidden"}, {"mode": "explain", "stream": True}, {"n": 4, "temperature": 1}]
)
def test_a_client_that_leaves_stops_its_generation(changes: dict[str, Any]) -> None:
    engine = LiveEngine(delay_s=30)
    num_choices = changes.get("n", 1)
    with served(make_app(engine, max_requests=1)) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(url + CHAT, json={**ASK, **changes}, timeout=0.3)
        until(lambda: engine.aborted == num_choices)
        engine.delay_s = 0
        assert httpx.post(url + CHAT, json=ASK).status_code == 200, "its slot is free again"
        metrics = httpx.get(url + "/metrics").text
    assert "rdistill_clients_gone_total 1.0" in metrics and "rdistill_requests_inside 0.0" in metrics


def test_more_than_the_house_holds_is_sent_away() -> None:
    engine = LiveEngine(delay_s=0.5)

    async def ask_many(url: str) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=url, timeout=20) as c:
            return await asyncio.gather(*(c.post(CHAT, json=ASK) for _ in range(12)))

    with served(make_app(engine, max_requests=3)) as url:
        responses = asyncio.run(ask_many(url))
        assert httpx.post(url + CHAT, json=ASK).status_code == 200
    statuses = sorted(r.status_code for r in responses)
    assert statuses == [200] * 6 + [429] * 6, "three are answered, three wait"
    assert engine.most_in_flight == 3
    for response in responses:
        if response.status_code == 429:
            assert response.headers["retry-after"] == "1"
            assert response.json()["error"]["message"] == "the server has 6 requests already; try again in 1 s"


def test_a_body_without_an_end_is_cut_off() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b" " * 65536

    with served(make_app()) as url:
        try:
            response = httpx.post(url + CHAT, content=endless(), headers={"content-type": "application/json"})
            assert response.status_code == 413
        except httpx.WriteError:
            pass  # the connection is closed while the client still writes
        assert httpx.get(url + "/health").status_code == 200
        head = "\r\n".join(
            [f"POST {CHAT} HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Transfer-Encoding: chunked"]
        )
        said = raw(url, f"{head}\r\n\r\n100000\r\n{' ' * 0x100000}\r\n1\r\n \r\n".encode())
    assert said.startswith(b"HTTP/1.1 413 ") and b"connection: close" in said.lower()


@pytest.mark.parametrize(
    "sent", [b"\0" * 100, b"GET\r\n\r\n", b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: x\r\n\r\n"]
)
def test_what_is_no_http_is_refused(sent: bytes) -> None:
    with served(make_app()) as url:
        assert raw(url, sent).startswith(b"HTTP/1.1 400 ")
        assert httpx.get(url + "/health").status_code == 200


def raw(url: str, sent: bytes) -> bytes:
    """What the server says to these bytes until it closes."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(sent)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_a_hundred_at_once_are_all_answered_each_with_its_own() -> None:
    engine = LiveEngine(lambda m, r: Reply(m[-1]["content"]), delay_s=0.01)

    async def ask_many(url: str) -> list[str]:
        async with httpx.AsyncClient(base_url=url, timeout=30) as c:
            bodies = [{"model": "run", "messages": [{"role": "user", "content": str(i)}]} for i in range(100)]
            found = await asyncio.gather(*(c.post(CHAT, json=body) for body in bodies))
        return [r.json()["choices"][0]["message"]["content"] for r in found]

    with served(make_app(engine)) as url:
        assert asyncio.run(ask_many(url)) == [str(i) for i in range(100)]
    assert engine.most_in_flight <= 64
