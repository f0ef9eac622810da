"""What a chat-completions request may hold: OpenAI's body, less what a student cannot do, plus `mode`.

    asked = read_chat(raw_bytes, Offer("my-run", ("direct", "explain"), "direct"))

Every fault of a body is one Refused with a sentence for the caller; no body raises anything else.
"""

import secrets
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rdistill.explain import explain_validation
from rdistill.infer.card import Card
from rdistill.infer.concise import ASK_MODES, TRAINED
from rdistill.records import Message
from rdistill.strict_json import loads_strict

MAX_BODY_BYTES = 1 << 20
MAX_MESSAGES, MAX_STOPS, MAX_STOP_CHARS, MAX_N, MAX_TOKENS = 256, 4, 100, 16, 1 << 20
CHARS_PER_TOKEN = 16
"""A conversation of more characters than this for each token of the model's length is not even tokenised."""
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "parallel_tool_calls": (None, True, False),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "service_tier": (None, "auto", "default"),
    "store": (None, False),
    "metadata": (None, {}),
}
"""What clients send without being asked to: accepted at values that change nothing, which are left out."""
NEUTRAL_IN_MESSAGE = ("name", "refusal", "annotations", "audio", "tool_calls", "function_call")
"""Of an assistant's message that a client sends back: accepted as null."""


class Refused(Exception):
    """A request that is not served: the HTTP status, and OpenAI's error object."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None, **headers: str
    ) -> None:
        super().__init__(message)
        self.status, self.headers = status, {k.replace("_", "-"): v for k, v in headers.items()}
        kind = "server_error" if status >= 500 else {401: "authentication_error", 429: "rate_limit_error"}.get(status)
        error = {"message": message, "type": kind or "invalid_request_error", "param": param, "code": code}
        self.body = {"error": error}


class Offer(NamedTuple):
    """What is served: a student's name, its modes, and the one that the bare name means."""

    name: str
    modes: tuple[str, ...]
    default: str

    @property
    def models(self) -> list[str]:
        return [self.name, *(f"{self.name}:{mode}" for mode in self.modes)]

    def choose(self, model: str, mode: str | None) -> str:
        """The mode to answer in. Raises: Refused."""
        if model not in self.models:
            raise Refused(
                404,
                f"model={model[:100]!r} is not served here; there is {', '.join(self.models)}",
                param="model",
                code="model_not_found",
            )
        named = model[len(self.name) + 1 :]
        if mode is not None and mode not in self.modes:
            raise Refused(400, f"mode={mode!r} was not trained; this student has {', '.join(self.modes)}", param="mode")
        if named and mode not in (None, named):
            raise Refused(400, f"model={model!r} and mode={mode!r} contradict each other; leave out one", param="mode")
        return mode or named or self.default


def modes_of(card: Card) -> tuple[str, ...]:
    """The modes that a student can be asked in."""
    return tuple(mode for mode in ASK_MODES if TRAINED[mode] in card.prompts)


class Asked(NamedTuple):
    """A request that can be served; `sampling` holds fields of the engine's Request."""

    model: str
    mode: str
    messages: list[Message]
    sampling: dict[str, Any]
    n: int
    stream: bool
    include_usage: bool
    include_reasoning: bool


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Message(_Strict):
    role: str
    content: str

    @field_validator("role")
    @classmethod
    def _known(cls, role: str) -> str:
        if role not in ("system", "user", "assistant"):
            raise ValueError(f"role {role[:40]!r}; expected system, user or assistant")
        return role

    @field_validator("content", mode="before")
    @classmethod
    def _text(cls, content: Any) -> Any:
        """Text from text, or from OpenAI's list of text parts."""
        if not isinstance(content, list):
            return content
        for part in content:
            if not isinstance(part, dict) or set(part) != {"type", "text"} or part["type"] != "text":
                raise ValueError(
                    'a part that is no text; expected {"type": "text", "text": "..."} (no images, no URLs)'
                )
            if not isinstance(part["text"], str):
                raise ValueError("a text part whose text is no string")
        return "".join(part["text"] for part in content)


class _StreamOptions(_Strict):
    include_usage: bool | None = None


Tokens = Annotated[int, Field(ge=1, le=MAX_TOKENS)]


class ChatBody(_Strict):
    """A chat-completions body."""

    model: str
    messages: Annotated[list[_Message], Field(min_length=1, max_length=MAX_MESSAGES)]
    mode: Annotated[str, Field(max_length=40)] | None = None
    include_reasoning: bool | None = None
    max_tokens: Tokens | None = None
    max_completion_tokens: Tokens | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_N)] | None = None
    stop: list[Annotated[str, Field(min_length=1, max_length=MAX_STOP_CHARS)]] | None = Field(
        None, max_length=MAX_STOPS
    )
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    user: str | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _list(cls, stop: Any) -> Any:
        return [stop] if isinstance(stop, str) else stop

    @model_validator(mode="after")
    def _agrees(self) -> "ChatBody":
        if not any(message.role == "user" for message in self.messages):
            raise ValueError("messages holds no user message; add the question as one")
        if None not in (self.max_tokens, self.max_completion_tokens) and self.max_tokens != self.max_completion_tokens:
            raise ValueError("max_tokens and max_completion_tokens differ; give one of them")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options without stream=true; leave it out")
        if (self.n or 1) > 1 and not self.temperature:
            raise ValueError(f"n={self.n} at temperature 0 is one answer many times; set temperature above 0")
        if (self.n or 1) > 1 and self.stream:
            raise ValueError(f"n={self.n} with stream=true; stream one answer, or leave stream out")
        return self


def read_chat(raw: bytes, offer: Offer, max_model_len: int) -> Asked:
    """What a body asks. Raises: Refused."""
    try:
        tree = loads_strict(raw.decode("utf-8"), max_chars=MAX_BODY_BYTES)
    except ValueError as error:
        raise Refused(400, f"the body is no plain JSON ({error}); send one JSON object") from None
    if not isinstance(tree, dict):
        raise Refused(400, f"the body is a JSON {type(tree).__name__}; send one JSON object")
    try:
        body = ChatBody.model_validate(_without_neutral(tree))
    except ValidationError as error:
        param = ".".join(map(str, error.errors()[0]["loc"])) or None
        raise Refused(400, explain_validation(error, ChatBody), param=param) from None
    mode = offer.choose(body.model, body.mode)
    num_chars = sum(len(message.content) for message in body.messages)
    if num_chars > CHARS_PER_TOKEN * max_model_len:
        raise Refused(
            400,
            f"the conversation has {num_chars} characters, this model takes {max_model_len} tokens, answer included; "
            "shorten it",
            param="messages",
            code="context_length_exceeded",
        )
    return Asked(
        model=body.model,
        mode=mode,
        messages=[message.model_dump() for message in body.messages],
        sampling=_sampling(body),
        n=body.n or 1,
        stream=bool(body.stream),
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        include_reasoning=bool(body.include_reasoning),
    )


def _without_neutral(tree: dict[str, Any]) -> dict[str, Any]:
    """The body without what changes nothing. Raises: Refused for what would change something, or is unknown."""
    kept = {}
    for key, value in tree.items():
        if key in ChatBody.model_fields:
            kept[key] = value
        elif key not in NEUTRAL:
            known = ", ".join(ChatBody.model_fields)
            raise Refused(400, f"{key[:40]!r} is not supported here; leave it out (there is {known})", param=key[:40])
        elif not any(value == neutral for neutral in NEUTRAL[key]):
            raise Refused(400, f"{key} is not supported here; leave it out", param=key)
    if isinstance(messages := kept.get("messages"), list):
        kept["messages"] = [_without_nulls(m) if isinstance(m, dict) else m for m in messages]
    return kept


def _without_nulls(message: dict[str, Any]) -> dict[str, Any]:
    """A message as it was before a server and a client dressed it."""
    shed = {key for key in NEUTRAL_IN_MESSAGE if message.get(key) is None}
    shed |= {"reasoning_content"} if message.get("role") == "assistant" else set()
    return {key: value for key, value in message.items() if key not in shed}


def _sampling(body: ChatBody) -> dict[str, Any]:
    """Fields of the engine's Request: greedy by default; without a seed, each request draws anew."""
    temperature = body.temperature or 0.0
    seed = body.seed if body.seed is not None else secrets.randbits(53)
    sampling: dict[str, Any] = {"temperature": temperature, "stop": body.stop or [], "seed": seed}
    if body.top_p is not None:
        sampling["top_p"] = body.top_p
    if max_tokens := body.max_completion_tokens or body.max_tokens:
        sampling["max_tokens"] = max_tokens
    return sampling
