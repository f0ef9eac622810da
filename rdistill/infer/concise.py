"""Answering in the modes that the student was trained for.

direct    the answer alone            hidden   the model reasons, the caller gets the answer
explain   rationale, then the answer  tool     calls run until there is an answer
concise   what a caller gets by default: `direct`
"""

import math
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Literal, NamedTuple, get_args

from rdistill.answers import split_answer
from rdistill.errors import ConfigError
from rdistill.infer.card import Card
from rdistill.prompts.student import with_mode_prompt
from rdistill.records import Message, Problem, Record, Sample, StudentMode
from rdistill.teacher.engine import Completion, Engine, Request
from rdistill.teacher.modes import answer_confidence, run_tool_loop, sandbox_of, total_usage
from rdistill.tools import Tool
from rdistill.tools.calls import CLOSE, OPEN

AskMode = Literal["concise", "direct", "hidden", "explain", "tool"]
ASK_MODES: tuple[str, ...] = get_args(AskMode)
TRAINED: Mapping[str, StudentMode] = {
    "concise": "direct",
    "direct": "direct",
    "hidden": "explain",
    "explain": "explain",
    "tool": "tool",
}
"""The mode in which a student is asked, by the mode that a caller names."""
MAX_TOKENS: dict[StudentMode, int] = {"explain": 512, "direct": 64, "tool": 256}


class Answer(Record):
    """One reply. `confidence` is the geometric mean probability of the answer's tokens, 0 to 1; `fault` says why there
    is none."""

    answer: str
    mode: str
    tokens: int
    confidence: float | None
    reasoning: str | None = None
    finished: bool = True
    seconds: float = 0.0
    fault: str | None = None


class Reply(NamedTuple):
    """An answer and what it cost; `finish_reason` is the last completion's."""

    answer: Answer
    prompt_tokens: int
    finish_reason: str


class Student:
    """A student over an engine: the one place that knows how each mode is asked and read."""

    def __init__(
        self,
        engine: Engine,
        card: Card,
        tools: dict[str, Tool] | None = None,
        *,
        max_tokens: Mapping[StudentMode, int] | None = None,
    ) -> None:
        self.engine, self.card = engine, card
        self._tools = tools or {}
        self._max_tokens: dict[StudentMode, int] = {**MAX_TOKENS, **(max_tokens or {})}

    async def answer(self, messages: list[Message], mode: AskMode = "concise") -> Answer:
        """Answer a conversation, greedily. Raises ConfigError for a mode that the student has no prompt for."""
        return (await self.converse(messages, mode)).answer

    async def converse(self, messages: list[Message], mode: str, **sampling: Any) -> Reply:
        """As `answer`, with what it cost; `sampling` changes fields of the Request."""
        replies, turns = await self.reply(messages, TRAINED[mode], **sampling)
        return self._read_reply(replies, turns, mode)

    async def stream(self, messages: list[Message], mode: str, **sampling: Any) -> AsyncGenerator[str | Reply, None]:
        """Pieces of the answer, then the Reply whose answer they make.

        `explain` is shown as it is written. The others are one piece: what the answer is, only a whole reply tells.
        """
        live = getattr(self.engine, "stream", None) if mode == "explain" else None
        if live is None:
            reply = await self.converse(messages, mode, **sampling)
            yield reply.answer.answer
            yield reply
            return
        prompt = self.prompt(messages, "explain")
        async with aclosing(live(prompt, self._request("explain", **sampling))) as items:
            async for item in items:
                if isinstance(item, str):
                    yield item
                else:
                    yield self._read_reply([item], [{"role": "assistant", "content": item.text}], mode)

    def _read_reply(self, replies: list[Completion], turns: list[Message], mode: str) -> Reply:
        last, text = replies[-1], turns[-1]["content"]
        rationale, answer = self.read(text, TRAINED[mode])
        confidence = answer_confidence(last, self.card.marker)
        found = Answer(
            answer=text if mode == "explain" else (answer or text),
            mode=mode,
            tokens=sum(r.completion_tokens for r in replies),
            confidence=None if confidence is None else round(math.exp(confidence), 4),
            reasoning=rationale or None,
            finished=last.finish_reason == "stop",
            seconds=round(sum(r.seconds for r in replies), 3),
            fault=last.fault,
        )
        return Reply(found, sum(r.prompt_tokens for r in replies), last.finish_reason)

    async def sample(
        self, problem: Problem, mode: StudentMode, *, temperature: float = 0.0, index: int = 0, seed: int = 0
    ) -> Sample:
        """Its answer to a problem; `index` and `seed` tell apart draws at a temperature above 0."""
        replies, turns = await self.reply(problem.messages, mode, temperature=temperature, index=index, seed=seed)
        rationale, answer = self.read(turns[-1]["content"], mode)
        return Sample.create(
            problem_id=problem.id,
            role="student",
            mode="tool_trace" if mode == "tool" else "rationale",
            messages=turns,
            rationale=rationale or None,
            answer=answer,
            finish_reason=replies[-1].finish_reason,
            usage=total_usage(replies),
            confidence=answer_confidence(replies[-1], self.card.marker),
            sampling={"mode": mode, "temperature": temperature, "index": index, "seed": seed},
            engine=self.engine.identity,
            sandbox=sandbox_of(turns, self._tools),
            fault=replies[-1].fault,
        )

    async def reply(
        self, messages: list[Message], mode: StudentMode, **sampling: Any
    ) -> tuple[list[Completion], list[Message]]:
        """The model's completions and the new turns; greedy unless `sampling`, fields of the Request, says else."""
        prompt, request = self.prompt(messages, mode), self._request(mode, **sampling)
        if mode == "tool":
            return await run_tool_loop(self.engine.chat, prompt, request, self._tools, self.card.max_turns)
        reply = await self.engine.chat(prompt, request)
        return [reply], [{"role": "assistant", "content": reply.text}]

    def _request(self, mode: StudentMode, **sampling: Any) -> Request:
        stop = [*sampling.pop("stop", []), *([CLOSE] if mode == "tool" else [])]
        return Request(**{"temperature": 0.0, "max_tokens": self._max_tokens[mode], **sampling, "stop": stop})

    def prompt(self, messages: list[Message], mode: StudentMode) -> list[Message]:
        if mode not in self.card.prompts:
            raise ConfigError(f"mode {mode!r} was not trained; this student has {', '.join(self.card.prompts)}")
        return with_mode_prompt(messages, self.card.prompts[mode])

    def read(self, text: str, mode: StudentMode) -> tuple[str, str | None]:
        """(rationale, answer) of a reply; the answer is None where an explanation declares none, or a call is open."""
        rationale, answer = split_answer(text, self.card.marker)
        if mode == "explain" or answer is not None or OPEN in text:
            return rationale, answer
        return "", text.strip() or None
