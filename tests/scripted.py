"""A teacher made of arithmetic: what it answers follows from what it is asked, so that whole runs repeat themselves.

`reply_to` is the model; ScriptedEngine is it in process, Endpoint behind a real OpenAI-compatible HTTP server.
"""

import asyncio
import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from rdistill.errors import TeacherError
from rdistill.records import Message, content_id
from rdistill.teacher.engine import Completion, Request

FILLER = "Adding the second number to the first one gives the sum. "


class Reply(NamedTuple):
    text: str
    finish_reason: str = "stop"
    fault: str | None = None


def reply_to(messages: list[Message], draw: int) -> Reply:
    """Add the last two numbers of the last question: right half of the time, sometimes cut short, of many lengths.

    The mistakes, the length and the cuts are drawn by a hash of the messages and `draw`.
    """
    question = next(m["content"] for m in reversed(messages) if m["role"] == "user" and re.search(r"\d", m["content"]))
    numbers = [int(n) for n in re.findall(r"\d+", question)[-2:]]
    dice = int(content_id(messages, draw)[:8], 16)
    value = sum(numbers) + (0 if dice % 10 < 5 else 1 + dice % 7)
    rationale = FILLER * (1 + dice // 10 % 4) + " + ".join(map(str, numbers)) + f" = {value}."
    if dice % 10 == 9:
        return Reply(rationale[: len(rationale) // 2], "length")
    return Reply(f"{rationale}\n#### {value}")


def completion_of(reply: Reply) -> Completion:
    if reply.fault is not None:
        return Completion.nothing(reply.finish_reason, reply.fault)
    tokens = re.findall(r"\S+\s*", reply.text)
    return Completion(
        text=reply.text,
        finish_reason=reply.finish_reason,
        prompt_tokens=10,
        completion_tokens=len(tokens),
        tokens=tokens,
        logprobs=[-0.1] * len(tokens),
    )


class ScriptedEngine:
    """An Engine. `calls` holds every (messages, request) in the order asked; `fail_at` makes the n-th call fail."""

    def __init__(
        self,
        script: Callable[[list[Message], Request], Reply] | None = None,
        *,
        identity: str = "scripted:1",
        delay_s: float = 0.0,
        fail_at: int | None = None,
    ) -> None:
        self.identity, self.delay_s, self.fail_at = identity, delay_s, fail_at
        self.script = script or (lambda messages, request: reply_to(messages, request.index))
        self.calls: list[tuple[list[Message], Request]] = []
        self.in_flight = self.most_in_flight = 0
        self.is_closed = False

    async def chat(self, messages: list[Message], request: Request) -> Completion:
        self.calls.append((messages, request))
        number = len(self.calls)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.delay_s)
            if self.fail_at is not None and number >= self.fail_at:
                raise TeacherError("the scripted engine was told to fail")
            return completion_of(self.script(messages, request))
        finally:
            self.in_flight -= 1

    async def close(self) -> None:
        self.is_closed = True


class Endpoint:
    """POST /v1/chat/completions on a free local port, answering by `reply_to`; use as a context manager.

    `asked` counts what each body was asked; `broken(n)` may return (status, body) for the n-th request instead, and
    `refuses(messages)` what a refusal (HTTP 400) of that conversation says.
    """

    def __init__(
        self,
        *,
        latency_s: float = 0.0,
        broken: Callable[[int], tuple[int, bytes] | None] = lambda n: None,
        refuses: Callable[[list[Message]], str | None] = lambda messages: None,
    ) -> None:
        self.latency_s, self.broken, self.refuses = latency_s, broken, refuses
        self.asked: dict[str, int] = {}
        self.requests = 0
        self._lock = threading.Lock()
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not body:
                    return  # cut off: the client was killed
                status, reply = endpoint.answer(json.loads(body))
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply)))
                self.end_headers()
                self.wfile.write(reply)

            def log_message(self, *args: object) -> None:
                """Silence."""

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:  # the client was killed
                    self.close_connection = True

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def answer(self, body: dict[str, Any]) -> tuple[int, bytes]:
        with self._lock:
            self.requests += 1
            number = self.requests
            if body["max_tokens"] > 1:  # not a probe
                key = content_id(body["messages"], body.get("seed"))
                self.asked[key] = self.asked.get(key, 0) + 1
        if broken := self.broken(number):
            return broken
        if refusal := self.refuses(body["messages"]):
            return 400, json.dumps({"error": {"message": refusal}}).encode()
        time.sleep(self.latency_s)
        reply = reply_to(body["messages"], body.get("seed", 0))
        message = {"role": "assistant", "content": reply.text}
        usage = {"prompt_tokens": 10, "completion_tokens": len(reply.text.split())}
        choice = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
        return 200, json.dumps({"choices": [choice], "usage": usage}).encode()

    def __enter__(self) -> "Endpoint":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
