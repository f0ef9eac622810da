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
from rdistill.teacher.engine import Completion, Request
from rdistill.teacher.vllm import request_seed

MAX_TRIES = 6
RETRIED = {408, 409, 425, 429, 500, 502, 503, 504}


class OpenAIEngine:
    """An Engine over POST {base_url}/chat/completions."""

    def __init__(self, config: TeacherConfig, transport: httpx.AsyncBaseTransport | None = None) -> None:
        assert config.base_url is not None
        self.identity = f"openai:{config.base_url.rstrip('/')}:{config.model}@{config.revision or 'main'}"
        self._model = config.model
        self._timeout_s = config.timeout_s
        headers = {"Authorization": f"Bearer {key}"} if (key := os.environ.get(config.api_key_env)) else {}
        self._client = httpx.AsyncClient(
            base_url=config.base_url.rstrip("/") + "/",
            headers=headers,
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
        started = time.monotonic()
        return read_completion(await self._post(body), time.monotonic() - started)

    async def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        """POST with retries (full jitter) inside one deadline; every call is idempotent by its seed."""
        deadline = time.monotonic() + self._timeout_s
        problem = ""
        for attempt in range(MAX_TRIES):
            try:
                async with asyncio.timeout(max(0.1, deadline - time.monotonic())):
                    response = await self._client.post("chat/completions", json=body)
                if response.status_code == 200:
                    return response.json()
                problem = f"HTTP {response.status_code}: {response.text[:200]}"
                if response.status_code == 400 and "logprobs" in response.text and body.pop("logprobs", None):
                    continue
                if response.status_code not in RETRIED:
                    break
            except (httpx.HTTPError, TimeoutError, ValueError) as error:
                problem = f"{type(error).__name__}: {error}"
            pause = random.uniform(0, min(10, 0.25 * 2**attempt))
            if time.monotonic() + pause >= deadline:
                break
            await asyncio.sleep(pause)
        raise TeacherError(f"the endpoint {self._client.base_url} failed after {attempt + 1} tries ({problem})")

    async def close(self) -> None:
        await self._client.aclose()


def read_completion(reply: dict[str, Any], seconds: float) -> Completion:
    """Normalise one chat-completions reply, wherever it puts reasoning, tool calls and log-probabilities.

    Raises: TeacherError if it is not a chat completion.
    """
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        text = message.get("content") or ""
        for call in message.get("tool_calls") or []:
            function = call["function"]
            name = canonical_json(function["name"])
            text += f'<tool_call>{{"name": {name}, "arguments": {function["arguments"]}}}</tool_call>'
        reasoning, text, finished = normalise_reasoning(
            text, message.get("reasoning_content") or message.get("reasoning")
        )
        steps = (choice.get("logprobs") or {}).get("content") or []
        usage = reply.get("usage") or {}
        return Completion(
            text=text,
            reasoning=reasoning,
            finish_reason=(choice.get("finish_reason") or "stop") if finished else "length",
            prompt_tokens=usage.get("prompt_tokens", 0),
            completion_tokens=usage.get("completion_tokens", 0),
            tokens=[s["token"] for s in steps] or None,
            logprobs=[s["logprob"] for s in steps] or None,
            seconds=seconds,
        )
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise TeacherError(f"the endpoint's reply is no chat completion ({type(error).__name__}: {error})") from None


def probe_endpoint(config: TeacherConfig) -> None:
    """Ask for one token. Raises PrerequisiteError with what to change if the endpoint does not answer."""
    headers = {"Authorization": f"Bearer {key}"} if (key := os.environ.get(config.api_key_env)) else {}
    url = f"{(config.base_url or '').rstrip('/')}/chat/completions"
    body = {"model": config.model, "messages": [{"role": "user", "content": "1+1="}], "max_tokens": 1}
    try:
        response = httpx.post(url, json=body, headers=headers, timeout=httpx.Timeout(6, connect=3))
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise PrerequisiteError(
            f"teacher.base_url={config.base_url!r} does not answer ({type(error).__name__}); start the server, or "
            "correct the address"
        ) from None
    if response.status_code != 200:
        hint = f"set the key in ${config.api_key_env}" if response.status_code in (401, 403) else "check teacher.model"
        raise PrerequisiteError(
            f"teacher.base_url={config.base_url!r} answers HTTP {response.status_code} to one token of "
            f"{config.model!r}: {response.text[:120]!r}; {hint}"
        )
