"""What every engine looks like: one async `chat` that turns messages into a Completion."""

from collections.abc import AsyncGenerator
from typing import Protocol

from rdistill.records import Message, Record


class Request(Record):
    """Sampling parameters of one completion. `index` tells apart the samples of one prompt; it seeds them."""

    temperature: float
    top_p: float = 1.0
    max_tokens: int
    index: int = 0
    seed: int = 0
    stop: list[str] = []


REFUSED, FAILED, UNCLEAR = "refused", "failed", "unclear"
"""Finish reasons of requests that came to nothing: the conversation was not accepted; no reply came in the end; one
came of which nobody knows whether it is whole."""


class Completion(Record):
    """What a model wrote, and what it cost.

    `text` is the reply without its thinking, which stands in `reasoning`; tool calls are in the text, as
    <tool_call>{"name": ..., "arguments": {...}}</tool_call>. `tokens` and `logprobs` (nats) are the completion's, of
    equal length, None where the server gives none. `finish_reason` is "stop", "length", "content_filter" or that of a
    request that came to nothing; `fault` then says why.
    """

    text: str
    reasoning: str | None = None
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    tokens: list[str] | None = None
    logprobs: list[float] | None = None
    seconds: float = 0.0
    fault: str | None = None

    @classmethod
    def nothing(cls, finish_reason: str, fault: str | None = None) -> "Completion":
        """No text at all, and why, as one printable line: it may quote a server."""
        if fault is not None:
            fault = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(fault.split()))
        return cls(text="", finish_reason=finish_reason, prompt_tokens=0, completion_tokens=0, fault=fault)


class Engine(Protocol):
    """A model that answers chats. `identity` changes whenever its outputs could."""

    identity: str

    async def chat(self, messages: list[Message], request: Request) -> Completion:
        """Complete a chat; one that is not accepted gives a completion with a `fault`.

        Raises: TeacherError when the engine, not the conversation, is at fault.
        """
        ...

    async def close(self) -> None:
        """Free the model."""
        ...


class LocalEngine(Engine, Protocol):
    """An engine in this process, which a server can stand on."""

    max_model_len: int
    """Tokens of prompt and completion together."""

    @property
    def is_alive(self) -> bool:
        """False once no request will be answered any more."""
        ...

    def stream(self, messages: list[Message], request: Request) -> AsyncGenerator[str | Completion, None]:
        """Pieces of the text as they come, then the Completion whose text they make. No time limit of its own.

        Raises: TeacherError as chat.
        """
        ...
