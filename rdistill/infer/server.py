"""The chat-completions server: an ASGI application with four routes over one student.

    POST /v1/chat/completions    GET /v1/models    GET /metrics    GET /health

Nothing else is served, no body names a URL, a template or a file, and neither questions nor answers are logged.
"""

import asyncio
import hmac
import ipaddress
import sys
import time
import traceback
from contextlib import aclosing
from functools import partial
from typing import Any

from rdistill.errors import first_cause
from rdistill.infer.admission import Admission
from rdistill.infer.chat_body import Asked, Offer, Refused, read_chat
from rdistill.infer.chat_reply import DONE, Shapes, checked
from rdistill.infer.concise import Reply, Student
from rdistill.infer.exchange import ClientGone, Exchange, Receive, Scope, Send
from rdistill.infer.metrics import Metrics
from rdistill.teacher.engine import LocalEngine

ROUTES = {
    "/v1/chat/completions": "POST",
    "/v1/models": "GET",
    "/metrics": "GET",
    "/health": "GET",
}

LONG_BODY = 1 << 16
"""Bytes from which a body is read beside the event loop."""


class App:
    """An ASGI application. Without an `api_key` it answers to names of this machine alone."""

    def __init__(
        self,
        student: Student,
        engine: LocalEngine,
        offer: Offer,
        *,
        api_key: str | None = None,
        max_requests: int = 64,
        timeout_s: float = 300.0,
    ) -> None:
        self._student, self._engine, self._offer = student, engine, offer
        self._api_key, self._timeout_s = api_key, timeout_s
        self._admission = Admission(max_requests, max_waiting=max_requests)
        self._metrics = Metrics()
        self._metrics.inside.set_function(lambda: self._admission.num_inside)
        self._started = int(time.time())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send)
        try:
            await self._answer(exchange)
        except ClientGone:
            self._metrics.gone.inc()
        except asyncio.CancelledError:
            await _refuse(exchange, Refused(503, "the server is ending; ask again in a while", code="ending"))
            raise
        except Exception as error:
            await _refuse(exchange, self._as_refused(first_cause(error)))
        route = exchange.path if exchange.path in ROUTES else "other"
        self._metrics.requests.labels(route, str(exchange.status)).inc()

    def _as_refused(self, error: BaseException) -> Refused:
        """What the caller is told of any error; a fault of ours goes to the log, without texts of a request."""
        if isinstance(error, Refused):
            return error
        if not self._engine.is_alive:
            return _dead()
        _log(error)
        return Refused(500, f"the server failed at this request ({type(error).__name__}); its log says more")

    async def _answer(self, exchange: Exchange) -> None:
        method = ROUTES.get(exchange.path)
        if method is None:
            raise Refused(404, f"no route {exchange.path[:100]!r}; there is {', '.join(ROUTES)}", code="not_found")
        if exchange.method != method:
            raise Refused(405, f"{exchange.path} takes {method}, not {exchange.method[:20]}", allow=method)
        if exchange.path != "/health":
            self._authorise(exchange)
        if not self._engine.is_alive and exchange.path != "/metrics":
            raise _dead()
        if exchange.path == "/v1/chat/completions":
            await self._chat(exchange)
        elif exchange.path == "/v1/models":
            await exchange.send_json(200, self._models())
        elif exchange.path == "/metrics":
            await exchange.send(200, self._metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
        else:
            await exchange.send_json(200, {"status": "ok"})

    def _authorise(self, exchange: Exchange) -> None:
        """Raises: Refused for a wrong key; without one for a web page that reaches us by a name of its own."""
        if self._api_key is None:
            host = exchange.header("host")
            if host and not is_loopback(_name_of(host)):
                raise Refused(403, f"host {host[:100]!r} is not this machine; set RDISTILL_API_KEY to serve under it")
            return
        scheme, _, key = exchange.header("authorization").partition(" ")
        is_right = hmac.compare_digest(key.strip().encode("latin-1"), self._api_key.encode())
        if scheme.lower() != "bearer" or not is_right:
            raise Refused(
                401,
                "no valid API key; send the header Authorization: Bearer $RDISTILL_API_KEY",
                code="invalid_api_key",
                www_authenticate="Bearer",
            )

    def _models(self) -> dict[str, Any]:
        about = {"object": "model", "created": self._started, "owned_by": "rdistill"}
        return {"object": "list", "data": [{"id": name, **about} for name in self._offer.models]}

    async def _chat(self, exchange: Exchange) -> None:
        if exchange.header("content-type").partition(";")[0].strip().lower() != "application/json":
            raise Refused(
                415, "the content type is not application/json; send the header Content-Type: application/json"
            )
        started = time.monotonic()
        with self._admission.admit():
            raw = await exchange.body()
            read = partial(read_chat, raw, self._offer, self._engine.max_model_len)
            # A long body takes a quarter of a second: others need not wait for it.
            asked = await asyncio.to_thread(read) if len(raw) > LONG_BODY else read()
            try:
                async with asyncio.timeout(self._timeout_s):
                    await exchange.while_there(lambda: self._reply(exchange, asked))
            except TimeoutError:
                raise Refused(504, f"no answer within {self._timeout_s:g} s; ask for fewer tokens") from None
        self._metrics.seconds.labels(asked.mode).observe(time.monotonic() - started)

    async def _reply(self, exchange: Exchange, asked: Asked) -> None:
        async with self._admission.slots:
            await (self._stream(exchange, asked) if asked.stream else self._whole(exchange, asked))

    async def _whole(self, exchange: Exchange, asked: Asked) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._student.converse(asked.messages, asked.mode, **asked.sampling, index=index))
                for index in range(asked.n)
            ]
        replies = [self._checked(task.result()) for task in tasks]
        await exchange.send_json(200, Shapes(asked).completion(replies))

    async def _stream(self, exchange: Exchange, asked: Asked) -> None:
        """The status is settled by the first piece: what is refused until then has a status of its own."""
        shapes = Shapes(asked)
        async with aclosing(self._student.stream(asked.messages, asked.mode, **asked.sampling)) as items:
            async for item in items:
                if isinstance(item, Reply):
                    chunks = shapes.last_chunks(self._checked(item))
                else:
                    chunks = [shapes.text_chunk(item)] if item else []
                if chunks and exchange.status is None:
                    chunks = [shapes.first_chunk(), *chunks]
                for chunk in chunks:
                    await exchange.send_event(chunk)
        await exchange.send_event(DONE)
        await exchange.end_events()

    def _checked(self, reply: Reply) -> Reply:
        reply = checked(reply, self._engine.max_model_len)
        self._metrics.add(reply)
        return reply


def _log(error: BaseException) -> None:
    """Where an error came from, and from which: messages are left out, since they may quote a question."""
    if error.__cause__ is not None:
        _log(error.__cause__)
    where = "".join(traceback.format_tb(error.__traceback__))
    print(f"{where}{type(error).__name__}", file=sys.stderr, flush=True)


def _dead() -> Refused:
    return Refused(503, "the engine has died and the server is ending; start it again", code="engine_died")


async def _refuse(exchange: Exchange, refused: Refused) -> None:
    """Say no: by a status, or where the answer has begun by a last event."""
    if exchange.status is None:
        await exchange.send_json(refused.status, refused.body, refused.headers)
    else:
        await exchange.send_event(refused.body)
        await exchange.end_events()


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def is_loopback(name: str) -> bool:
    """Whether only this machine is meant by a host's name or address."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower().rstrip(".") == "localhost"
