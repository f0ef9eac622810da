"""Any OpenAI-compatible endpoint as an engine: `vllm serve`, a cluster behind a router, a vendor.

httpx rather than the openai SDK: a quarter of the CPU per request, and deadlines and retries are ours to state.
"""

import asyncio
import itertools
import json
import random
import re
import time
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from rdistill.config import TeacherConfig
from rdistill.errors import PrerequisiteError, TeacherError
from rdistill.records import Message
from rdistill.teacher.engine import FAILED, REFUSED, Completion, Request
from rdistill.teacher.flow import Flow
from rdistill.teacher.key import Key
from rdistill.teacher.replies import read_completion
from rdistill.teacher.vllm import request_seed

MAX_TRIES = 10
FIRST_PAUSE_S, MAX_PAUSE_S = 0.5, 10.0
"""The longest pause after a first failure, which doubles with each, and after any."""
BUSY = {429, 503, 529}
"""The server has no room now; the deadline alone ends the asking, and fewer requests are in flight."""
RETRIED = {408, 409, 425}
"""And whatever else is the server's own fault, 500 and above."""
CONVERSATION_REFUSED = {400, 413, 422}
"""A content filter, a prompt too long: another conversation may do."""
OPTIONAL = ("logprobs", "seed", "temperature", "top_p")
"""Parameters that some models refuse by name; the request is repeated, and from then on made, without them."""
SHAPING = ("temperature", "top_p")
"""Those of them without which the model writes otherwise."""
RENAMED = {"max_tokens": "max_completion_tokens"}
"""Parameters that some models want under another name."""
TOO_LONG = ("context length", "context_length", "maximum model length", "maximum context", "too long")
CUT_AT_ONCE = "could not finish the message"
"""How a model that thinks says that its token limit came before its reply."""
NO_CREDIT = "insufficient_quota"
"""Said with the status of a busy server, and does not pass."""
NEVER_FITS = "request too large"
"""Likewise: one request above the limit for a minute."""


class _TryAgain(Exception):
    """One request failed in a way that may pass."""

    def __init__(self, problem: str, pause_s: float = 0.0, *, is_busy: bool = False) -> None:
        super().__init__(problem)
        self.problem, self.pause_s, self.is_busy = problem, pause_s, is_busy


class OpenAIEngine:
    """An Engine over POST {base_url}/chat/completions. `warnings`: what the endpoint did not take as it was asked."""

    def __init__(self, config: TeacherConfig, transport: httpx.AsyncBaseTransport | None = None) -> None:
        assert config.base_url is not None
        # Not the address: the same model may be served elsewhere tomorrow.
        self.identity = f"openai:{config.model}@{config.revision or 'main'}"
        self.warnings: list[str] = []
        self._place = f"teacher.base_url={config.base_url!r}"
        self._model = config.model
        self._timeout_s = config.timeout_s
        self._key = Key(config.api_key_env)
        self._changes: Changes = {}
        self._flow = Flow(config.concurrency)
        self._client = httpx.AsyncClient(
            base_url=config.base_url.rstrip("/") + "/",
            headers=self._key.header,
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

        While the server is busy nothing but the deadline ends this; waiting for others that are answered is no delay.

        Raises: TeacherError when the endpoint refuses all requests; one that goes on failing gives no text, and why.
        """
        begun, tries, problem = time.monotonic(), 0, "no room, as the server was too busy for the requests before it"
        async with self._flow.place() as place:
            for attempt in itertools.count():
                deadline = begun + self._timeout_s + place.waited_s
                sent_at = time.monotonic()
                if sent_at >= deadline:
                    break
                try:
                    completion = await self._ask(body, deadline, self._changes)
                    self._flow.answered()
                    return completion
                except _TryAgain as error:
                    trouble, problem = error, error.problem
                if trouble.is_busy:
                    self._flow.refused(sent_at)
                    if await place.step_back():
                        continue
                tries += not trouble.is_busy
                pause = max(trouble.pause_s, random.uniform(0, min(MAX_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempt, 10))))
                if tries == MAX_TRIES or time.monotonic() + pause >= deadline:
                    attempt += 1
                    break
                await asyncio.sleep(pause)
        return Completion.nothing(FAILED, f"{self._place} failed {attempt} times, the last: {problem}")

    async def _ask(self, body: dict[str, Any], deadline: float, changes: "Changes") -> Completion:
        """One request. Raises: _TryAgain, or TeacherError where that would not help."""
        started = time.monotonic()
        # Half of what is left: a request that stalls leaves time for others, a slow one still has most of it.
        limit_s = max(0.1, (deadline - started) / 2)
        sent = changed(body, changes)
        try:
            async with asyncio.timeout(limit_s):
                response = await self._client.post("chat/completions", json=sent)
            if response.status_code == 200:
                reply = json.loads(self._key.masked(response.content.decode("utf-8-sig")))
                return read_completion(reply, time.monotonic() - started)
        except TimeoutError:
            raise _TryAgain(f"no answer in {limit_s:.3g} of teacher.timeout_s={self._timeout_s:g} seconds") from None
        except (httpx.HTTPError, ValueError) as error:
            raise _TryAgain(self._key.masked(f"{type(error).__name__}: {error}")) from None
        status, said = response.status_code, self._key.masked(response.text)
        problem = f"HTTP {status}: {' '.join(said.split())[:200]}"
        if status in BUSY and NO_CREDIT not in said:
            if NEVER_FITS in said.lower():
                return Completion.nothing(REFUSED, problem)
            raise _TryAgain(problem, retry_after(response), is_busy=True)
        if status in RETRIED or status >= 500:
            raise _TryAgain(problem, retry_after(response))
        if status in CONVERSATION_REFUSED:
            if any(sign in said.lower() for sign in (*TOO_LONG, CUT_AT_ONCE)):
                return Completion.nothing("length")
            if found := changes_for(said, sent):
                completion = await self._ask(body, deadline, changes | found)
                if completion.fault is None:  # else it was not about them
                    self._adopt(found, sent, problem)
                return completion
            return Completion.nothing(REFUSED, problem)
        raise TeacherError(f"{self._place} refuses the request ({problem}); check teacher.model and teacher.sampling")

    def _adopt(self, found: "Changes", sent: dict[str, Any], problem: str) -> None:
        """Spell every later request so; where the model then writes otherwise, say it."""
        for name in found:
            if name in SHAPING and name not in self._changes:
                warning = f"{self._model!r} does not take {name}={sent[name]:g} ({problem}), so it used its own"
                self.warnings.append(warning)
        self._changes = self._changes | found

    async def close(self) -> None:
        await self._client.aclose()


Changes = dict[str, str | None]
"""The name that a parameter has at an endpoint, or None where it is left out, by its usual name."""


def changed(body: dict[str, Any], changes: Changes) -> dict[str, Any]:
    """A request in the words that the endpoint takes."""
    named = ((changes.get(key, key), value) for key, value in body.items())
    return {key: value for key, value in named if key is not None}


def changes_for(said: str, sent: dict[str, Any]) -> Changes:
    """What to spell otherwise after a refusal that names parameters."""
    found: Changes = {old: new for old, new in RENAMED.items() if old in sent and new in said}
    return found | {name: None for name in OPTIONAL if name in sent and re.search(rf"\b{name}\b", said)}


def retry_after(response: httpx.Response) -> float:
    """Seconds that a busy server asks us to wait, said as such or as a date; 0 where it does not say."""
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def probe_endpoint(config: TeacherConfig, wait_s: float = 6.0) -> None:
    """Ask for one token, and wait `wait_s` for it, or `timeout_s` if that is less; longer than that it may be busy.

    Raises: PrerequisiteError with what to change if the endpoint does not answer.
    """
    wait_s = min(wait_s, config.timeout_s)
    place = f"teacher.base_url={config.base_url!r}"
    key = Key(config.api_key_env)
    try:
        response = _ask_one_token(config, key, wait_s)
    except httpx.ReadTimeout:
        raise PrerequisiteError(
            f"{place} took a question and gave no token in {wait_s:g} s; wait until it is less busy, or loaded"
        ) from None
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
        raise PrerequisiteError(
            f"{place} does not answer ({type(error).__name__}); start the server, or correct the address"
        ) from None
    status, text = response.status_code, key.masked(response.text)
    said = " ".join(text.split())[:120]
    if status == 400 and CUT_AT_ONCE in text.lower():
        return
    if status != 200:
        hints = dict.fromkeys((401, 403), f"set the key in ${config.api_key_env}") | dict.fromkeys(
            BUSY, "wait until it is less busy, or the account has credit"
        )
        raise PrerequisiteError(
            f"{place} answers HTTP {status} to one token of {config.model!r} ({said!r}); "
            + hints.get(status, "check teacher.model")
        )
    try:
        read_completion(response.json(), 0.0)
    except ValueError:
        raise PrerequisiteError(
            f"{place} answers, but with no chat completion ({said!r}); correct the address (it mostly ends in /v1)"
        ) from None


def _ask_one_token(config: TeacherConfig, key: Key, wait_s: float) -> httpx.Response:
    """The answer to a question for one token; a busy server, and one that wants other words, is asked again."""
    url = f"{(config.base_url or '').rstrip('/')}/chat/completions"
    body = {"model": config.model, "messages": [{"role": "user", "content": "1+1="}], "max_tokens": 1}
    deadline = time.monotonic() + wait_s
    while True:
        timeout = httpx.Timeout(max(0.1, deadline - time.monotonic()), connect=3)
        response = httpx.post(url, json=body, headers=key.header, timeout=timeout)
        if response.status_code in CONVERSATION_REFUSED and (found := changes_for(response.text, body)):
            body = changed(body, found)
            continue
        pause = max(1.0, retry_after(response))
        if response.status_code not in BUSY or NO_CREDIT in response.text or time.monotonic() + pause >= deadline:
            return response
        time.sleep(pause)
