"""One HTTP exchange over ASGI: a body with limits, JSON or events back, and whether the client is still there."""

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from rdistill.infer.chat_body import MAX_BODY_BYTES, Refused

BODY_S = 20.0
"""Seconds in which a body must be there."""
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class ClientGone(Exception):
    """The client closed the connection: nobody reads what comes."""


class Exchange:
    """`status` is that of the response, None before it has begun; `is_over` once all of it was sent."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.method, self.path = scope["method"], scope["path"]
        self._headers = {name.decode("latin-1").lower(): value for name, value in scope["headers"]}
        self._receive, self._send = receive, send
        self.status: int | None = None
        self.is_over = False

    def header(self, name: str) -> str:
        return self._headers.get(name, b"").decode("latin-1").strip()

    async def body(self) -> bytes:
        """The whole body. Raises: Refused if it is too long or too slow; ClientGone."""
        parts, size = [], 0
        try:
            async with asyncio.timeout(BODY_S):
                while True:
                    message = await self._receive()
                    if message["type"] == "http.disconnect":
                        raise ClientGone
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > MAX_BODY_BYTES:
                        raise Refused(413, f"the body may have {MAX_BODY_BYTES} bytes; send less", connection="close")
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            raise Refused(
                408, f"the body was not there within {BODY_S:g} s; send it faster", connection="close"
            ) from None

    async def while_there(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work, and stop it once the client has gone; the body must have been read. Raises: ClientGone."""
        doing, leaving = asyncio.ensure_future(work()), asyncio.ensure_future(self._left())
        try:
            await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done() and not self.is_over:
                raise ClientGone
            await doing
        finally:
            for task in (doing, leaving):
                task.cancel()
            await asyncio.gather(doing, leaving, return_exceptions=True)

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def send(self, status: int, body: bytes, content_type: str, headers: dict[str, str] | None = None) -> None:
        """The whole response."""
        await self._begin(status, content_type, {"content-length": str(len(body)), **(headers or {})})
        await self._end(body)

    async def send_json(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        await self.send(status, as_json(content), "application/json", headers)

    async def send_event(self, content: Any) -> None:
        """One server-sent event; the first begins the response."""
        if self.status is None:
            await self._begin(200, "text/event-stream; charset=utf-8", {"x-accel-buffering": "no"})
        data = content.encode() if isinstance(content, str) else as_json(content)
        await self._send({"type": "http.response.body", "body": b"data: " + data + b"\n\n", "more_body": True})

    async def end_events(self) -> None:
        await self._end(b"")

    async def _end(self, body: bytes) -> None:
        self.is_over = True
        await self._send({"type": "http.response.body", "body": body})

    async def _begin(self, status: int, content_type: str, headers: dict[str, str]) -> None:
        self.status = status
        pairs = {
            "content-type": content_type,
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            **headers,
        }
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": encoded})


def as_json(content: Any) -> bytes:
    """JSON in UTF-8; half a character at a reply's cut end becomes a question mark."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
