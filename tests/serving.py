"""A scripted student behind the real application, asked over ASGI or over a real port."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import httpx
from scripted import Reply, ScriptedEngine

from rdistill.config import SandboxConfig
from rdistill.infer.card import Card
from rdistill.infer.chat_body import Offer, modes_of
from rdistill.infer.concise import Student
from rdistill.infer.serve import Place, listening_on, make_server
from rdistill.infer.server import App
from rdistill.records import Message
from rdistill.teacher.engine import Completion, Request
from rdistill.tools import make_tools

CARD = Card(
    prompts={"explain": "Explain.", "direct": "Only the answer.", "tool": "Use the calculator."},
    marker="####",
    tools=["calculator"],
)
MODES = ("concise", "direct", "hidden", "explain", "tool")
ASK = {"model": "run", "messages": [{"role": "user", "content": "What is 3 + 4?"}]}
REASONED = "Adding three and four.\n#### 7"


def says(messages: list[Message], request: Request) -> Reply:
    """Reasons where it is asked to explain."""
    return Reply(REASONED if messages[0]["content"].startswith("Explain.") else "7")


class LiveEngine(ScriptedEngine):
    """A LocalEngine: a prompt has as many tokens as words; `aborted` counts replies that were broken off."""

    max_model_len = 50

    def __init__(self, *arguments: Any, delay_s: float = 0.0, **options: Any) -> None:
        super().__init__(*(arguments or (says,)), delay_s=delay_s, **options)
        self.is_alive = True
        self.aborted = 0

    async def chat(self, messages: list[Message], request: Request) -> Completion:
        try:
            num_tokens = sum(len(m["content"].split()) for m in messages)
            if num_tokens >= self.max_model_len:
                return Completion(text="", finish_reason="length", prompt_tokens=num_tokens, completion_tokens=0)
            return await super().chat(messages, request)
        except asyncio.CancelledError:
            self.aborted += 1
            raise

    async def stream(self, messages: list[Message], request: Request) -> AsyncGenerator[str | Completion, None]:
        delay_s, self.delay_s = self.delay_s, 0.0
        completion = await self.chat(messages, request)
        self.delay_s = delay_s
        try:
            for word in completion.text.splitlines(keepends=True):
                await asyncio.sleep(delay_s)
                yield word
        except (asyncio.CancelledError, GeneratorExit):
            self.aborted += 1
            raise
        yield completion


def make_app(engine: LiveEngine | None = None, card: Card = CARD, default: str = "concise", **options: Any) -> App:
    engine = engine or LiveEngine()
    student = Student(engine, card, make_tools(["calculator"], SandboxConfig()))
    return App(student, engine, Offer("run", modes_of(card), default), **options)


def client(app: App, **headers: str) -> httpx.AsyncClient:
    """In this process: no port, no server."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost", headers=headers)


def post(app: App, **changes: Any) -> httpx.Response:
    """One question's response; a change to None leaves the field out."""
    body = {key: value for key, value in {**ASK, **changes}.items() if value is not None}

    async def ask() -> httpx.Response:
        async with client(app) as c:
            return await c.post("/v1/chat/completions", json=body)

    return asyncio.run(ask())


def get(app: App, path: str, method: str = "GET", **headers: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with client(app, **headers) as c:
            return await c.request(method, path)

    return asyncio.run(ask())


@contextlib.contextmanager
def served(app: App) -> Iterator[str]:
    """The address of the application behind a real uvicorn."""
    listens = threading.Event()
    with listening_on(Place(port=0), None) as listener:
        server = make_server(app, listens.set)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            assert listens.wait(10)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            thread.join(10)
