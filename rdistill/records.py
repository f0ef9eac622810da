"""The rows that move through a run, each with an id made of its content.

    Problem -> Sample -> Verdict -> Example -> Pair

Ids are 128-bit BLAKE2b hashes of canonical JSON: the same work has the same id in every run and on every machine.
Messages are OpenAI chat messages (`role`, `content`, and where present `tool_calls`, `tool_call_id`, `name`).
"""

import hashlib
import json
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Message = dict[str, Any]
Split = Literal["train", "dev", "test", "pair"]
"""`pair`: told again from train problems, for pairs alone."""
Pool = Literal["real", "synthetic", "adversarial", "domain"]
StudentMode = Literal["explain", "direct", "tool"]
TeacherMode = Literal["rationale", "critique_revise", "tool_trace"]
PairSource = Literal["best_of_n", "revision", "tool_trace", "concise", "student"]


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, no spaces, no NaN: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_id(*parts: Any) -> str:
    """128-bit content hash, 32 hex digits, of JSON-able parts."""
    return hashlib.blake2b(canonical_json(parts).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class Record(BaseModel):
    """A row of the ledger: immutable, and strict about its fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(Record):
    """A prompt with its expected answer, in one split for good. `hint`: what may help the teacher to find it."""

    id: str
    messages: list[Message]
    gold: Any = None
    domain: str = "general"
    pool: Pool = "real"
    cluster: str
    split: Split
    tools: list[dict[str, Any]] | None = None
    hint: str | None = None

    @staticmethod
    def make_id(messages: list[Message], gold: Any, tools: list[dict[str, Any]] | None) -> str:
        return content_id("problem", messages, gold, tools)


class Sample(Record):
    """What a model (and the tools it called) wrote after a problem's messages; the teacher, unless the role says else.

    Role `student`: the SFT model, in the mode that `sampling` names; `gold`: what the data say instead.
    `messages` holds only the new turns. `parent_id` is the sample this one revises. `confidence` is the mean
    log-probability over the answer span, in nats. `sampling` holds the request's parameters and the sample index.
    `sandbox` is the level at which code that it called tools with ran; None if there was none. `fault` says why the
    last request came to nothing.
    """

    id: str
    problem_id: str
    parent_id: str | None = None
    role: Literal["answer", "draft", "critique", "revision", "gold", "student"] = "answer"
    mode: TeacherMode = "rationale"
    messages: list[Message]
    rationale: str | None
    answer: str | None
    finish_reason: str
    usage: dict[str, int]
    confidence: float | None = None
    sampling: dict[str, Any]
    engine: str
    sandbox: str | None = None
    fault: str | None = None

    @classmethod
    def create(cls, **fields: Any) -> "Sample":
        """Build a sample and the id that its content gives it."""
        shape = {
            k: fields.get(k) for k in ("problem_id", "parent_id", "role", "mode", "messages", "sampling", "engine")
        }
        return cls(id=content_id("sample", shape), **fields)

    @classmethod
    def of_gold(cls, problem: Problem, text: str, answer: str | None) -> "Sample":
        """A problem's gold answer as if a model had replied with `text`."""
        return cls.create(
            problem_id=problem.id,
            role="gold",
            messages=[{"role": "assistant", "content": text}],
            rationale=None,
            answer=answer,
            finish_reason="stop",
            usage={},
            sampling={},
            engine="gold",
        )

    @property
    def text(self) -> str:
        """The last assistant turn's text."""
        return next((m.get("content") or "" for m in reversed(self.messages) if m["role"] == "assistant"), "")


class Status(StrEnum):
    PASS = "pass"
    FAIL = "fail"
    UNVERIFIABLE = "unverifiable"


class Reason(StrEnum):
    """Why a verdict is what it is."""

    OK = "OK"
    WRONG_ANSWER = "WRONG_ANSWER"
    WRONG_STEP = "WRONG_STEP"
    NO_ANSWER = "NO_ANSWER"
    AMBIGUOUS = "AMBIGUOUS"
    TRUNCATED = "TRUNCATED"
    REQUEST_REFUSED = "REQUEST_REFUSED"
    NO_REPLY = "NO_REPLY"
    UNPARSEABLE = "UNPARSEABLE"
    BAD_GOLD = "BAD_GOLD"
    TIMEOUT = "TIMEOUT"
    RESOURCE_LIMIT = "RESOURCE_LIMIT"
    BAD_TOOL_CALL = "BAD_TOOL_CALL"
    UNSAFE = "UNSAFE"
    OVER_REFUSAL = "OVER_REFUSAL"
    FORMAT = "FORMAT"
    JUDGE = "JUDGE"
    RUNTIME_ERROR = "RUNTIME_ERROR"
    SANDBOX = "SANDBOX"
    VERIFIER_ERROR = "VERIFIER_ERROR"


class Verdict(Record):
    """One verifier's word on one sample. `unverifiable` is never trained on, on either side of a pair.

    `sandbox` is the level of the sandbox that the verifier runs code in; None if it runs none.
    """

    sample_id: str
    verifier: str
    version: str
    status: Status
    reason: Reason
    detail: str = ""
    seconds: float = 0.0
    sandbox: str | None = None


class Span(Record):
    """Characters [start, end) of `messages[message]["content"]` and the role that sets their weight."""

    message: int
    start: int
    end: int
    role: Literal["rationale", "answer", "tool_call", "tool_result"]


class Example(Record):
    """One SFT row: the whole conversation and the spans of what is supervised (the rest weighs 0)."""

    id: str
    sample_id: str
    mode: StudentMode
    messages: list[Message]
    spans: list[Span]


class Pair(Record):
    """One preference: same prompt, chosen verified right, rejected verified wrong (or, by `concise`, longer)."""

    id: str
    problem_id: str
    chosen_id: str
    rejected_id: str
    source: PairSource
    mode: StudentMode
    reason: str
    margin: float
