"""Any OpenAI-compatible endpoint as an engine: `vllm serve`, a cluster behind a router, a vendor.

httpx rather than the openai SDK: a quarter of the CPU per request, and deadlines and retries are ours to state.
"""

import asyncio
import os
import random
import time
from typing import Any

import httpx

from rdistill.answers import normalise_reasoning
from rdistill.config import TeacherConfig
from rdistill.errors import PrerequisiteError, TeacherError
from rdistill.records import Message, canonical_json
from rdistill.teacher.engine import FAILED, REFUSED, Completion, Request
from rdistill.teacher.vllm import request_seed

MAX_TRIES = 10
MAX_PAUSE_S = 10.0
RETRIED = {408, 409, 425, 429}
"""And whatever is the server's own fault, 500 and above."""
CONVERSATION_REFUSED = {400, 413, 422}
"""A content filter, a prompt too long: another conversation may do."""
OPTIONAL = ("logprobs", "seed")
"""Parameters that some servers refuse by name; the request is repeated, and from then on made, without them."""
TOO_LONG = ("context length", "context_length", "maximum model length", "maximum context", "too long")


class _TryAgain(Exception):
    """One request failed in a way that may pass."""

    def __init__(self, problem: str, pause_s: float = 0.0) -> None:
        super().__init__(problem)
        self.problem, self.pause_s = problem, pause_s


class OpenAIEngine:
    """An Engine over POST {base_url}/chat/completions."""

    def __init__(self, config: TeacherConfig, transport: httpx.AsyncBaseTransport | None = None) -> None:
        assert config.base_url is not None
        self.identity = f"openai:{config.base_url.rstrip('/')}:{config.model}@{config.revision or 'main'}"
        self._place = f"teacher.base_url={config.base_url!r}"
        self._model = config.model
        self._timeout_s = config.timeout_s
        self._refused: set[str] = set()
        self._client = httpx.AsyncClient(
            base_url=config.base_url.rstrip("/") + "/",
            headers=authorisation(config),
            timeout=httpx.Timeout(config.timeout_s, connect=10),
            limits=httpx.Limits(max_connections=config.concurrency, max_keepalive_connections=config.concurrency),
            transport=transport,
        )

    async def chat(self, messages: list[Message], request: Request) -> Completion:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": messages,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "max_tokens": request.max_tokens,
            "seed": request_seed(messages, request) % 2**31,
            "logprobs": True,
        }
        if request.stop:
            body["stop"] = request.stop
        return await self._complete(body)

    async def _complete(self, body: dict[str, Any]) -> Completion:
        """Ask with retries (full jitter) inside one deadline; every call is idempotent by its seed.

        Raises: TeacherError when the endpoint refuses all requests; one that goes on failing gives no text, and why.
        """
        deadline = time.monotonic() + self._timeout_s
        for attempt in range(1, MAX_TRIES + 1):
            try:
                return await self._ask(body, deadline)
            except _TryAgain as error:
                problem, jitter = error.problem, random.uniform(0, min(MAX_PAUSE_S, 2.0**attempt / 4))
                pause = max(error.pause_s, jitter)
            if time.monotonic() + pause >= deadline:
                break
            await asyncio.sleep(pause)
        return Completion.nothing(FAILED, f"{self._place} failed {attempt} times, the last: {problem}")

    async def _ask(self, body: dict[str, Any], deadline: float) -> Completion:
        """One request. Raises: _TryAgain, or TeacherError where that would not help."""
        started = time.monotonic()
        # Half of what is left: a request that stalls leaves time for others, a slow one still has most of it.
        limit_s = max(0.1, (deadline - started) / 2)
        sent = {k: v for k, v in body.items() if k not in self._refused}
        try:
            async with asyncio.timeout(limit_s):
                response = await self._client.post("chat/completions", json=sent)
            if response.status_code == 200:
                return read_completion(response.json(), time.monotonic() - started)
        except TimeoutError:
            raise _TryAgain(f"no answer in {limit_s:.3g} of teacher.timeout_s={self._timeout_s:g} seconds") from None
        except (httpx.HTTPError, ValueError) as error:
            raise _TryAgain(f"{type(error).__name__}: {error}") from None
        said = response.text
        problem = f"HTTP {response.status_code}: {' '.join(said.split())[:200]}"
        if response.status_code in RETRIED or response.status_code >= 500:
            raise _TryAgain(problem, retry_after(response))
        if response.status_code in CONVERSATION_REFUSED:
            if any(sign in said.lower() for sign in TOO_LONG):
                return Completion.nothing("length")
            if named := {name for name in OPTIONAL if name in sent and name in said}:
                return await self._ask_without(named, body, deadline)
            return Completion.nothing(REFUSED, problem)
        raise TeacherError(f"{self._place} refuses the request ({problem}); check teacher.model and teacher.sampling")

    async def _ask_without(self, named: set[str], body: dict[str, Any], deadline: float) -> Completion:
        """Leave out, from now on, parameters that a refusal names, unless it turns out that it was not about them."""
        self._refused |= named
        completion = await self._ask(body, deadline)
        if completion.fault is not None:
            self._refused -= named
        return completion

    async def close(self) -> None:
        await self._client.aclose()


def authorisation(config: TeacherConfig) -> dict[str, str]:
    """The request header with the key, where its environment variable is set."""
    key = os.environ.get(config.api_key_env)
    return {"Authorization": f"Bearer {key}"} if key else {}


def retry_after(response: httpx.Response) -> float:
    """Seconds that a busy server asks us to wait; 0 where it does not say."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def read_completion(reply: Any, seconds: float) -> Completion:
    """Normalise one chat-completions reply, wherever it puts reasoning, tool calls and log-probabilities.

    Raises: ValueError if it is not a chat completion.
    """
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        text = plain_text(message.get("content")) + "".join(map(call_as_text, message.get("tool_calls") or []))
        reasoning, text, finished = normalise_reasoning(
            text, plain_text(message.get("reasoning_content") or message.get("reasoning"))
        )
        steps = (choice.get("logprobs") or {}).get("content") or []
        usage = reply.get("usage") or {}
        return Completion(
            text=text,
            reasoning=reasoning,
            finish_reason=(choice.get("finish_reason") or "stop") if finished else "length",
            prompt_tokens=usage.get("prompt_tokens") or 0,
            completion_tokens=usage.get("completion_tokens") or 0,
            tokens=[plain_text(s["token"]) for s in steps] or None,
            logprobs=[s["logprob"] for s in steps] or None,
            seconds=seconds,
        )
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(f"the reply is no chat completion ({cause})") from None


def plain_text(content: Any) -> str:
    """Text that UTF-8 can hold, from text or from a list of text parts."""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    return (content or "").encode("utf-8", "replace").decode()


def call_as_text(call: dict[str, Any]) -> str:
    """A structured tool call in the text protocol."""
    function = call["function"]
    arguments = function["arguments"]
    arguments = arguments if isinstance(arguments, str) else canonical_json(arguments)
    return f'<tool_call>{{"name": {canonical_json(function["name"])}, "arguments": {arguments or "{}"}}}</tool_call>'


def probe_endpoint(config: TeacherConfig, wait_s: float = 6.0) -> None:
    """Ask for one token, and wait `wait_s` for it, or `timeout_s` if that is less.

    Raises: PrerequisiteError with what to change if the endpoint does not answer.
    """
    wait_s = min(wait_s, config.timeout_s)
    url = f"{(config.base_url or '').rstrip('/')}/chat/completions"
    body = {"model": config.model, "messages": [{"role": "user", "content": "1+1="}], "max_tokens": 1}
    place = f"teacher.base_url={config.base_url!r}"
    try:
        response = httpx.post(url, json=body, headers=authorisation(config), timeout=httpx.Timeout(wait_s, connect=3))
    except httpx.ReadTimeout:
        raise PrerequisiteError(
            f"{place} took a question and gave no token in {wait_s:g} s; wait until it is less busy, or loaded"
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise PrerequisiteError(
            f"{place} does not answer ({type(error).__name__}); start the server, or correct the address"
        ) from None
    said = " ".join(response.text.split())[:120]
    if response.status_code != 200:
        hint = f"set the key in ${config.api_key_env}" if response.status_code in (401, 403) else "check teacher.model"
        raise PrerequisiteError(
            f"{place} answers HTTP {response.status_code} to one token of {config.model!r} ({said!r}); {hint}"
        )
    try:
        read_completion(response.json(), 0.0)
    except ValueError:
        raise PrerequisiteError(
            f"{place} answers, but with no chat completion ({said!r}); correct the address (it mostly ends in /v1)"
        ) from None
