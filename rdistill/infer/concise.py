"""Answering in the modes that the student was trained for.

direct    the answer alone            hidden   the model reasons, the caller gets the answer
explain   rationale, then the answer  tool     calls run until there is an answer
concise   what a caller gets by default: `direct`
"""

import math
from collections.abc import Mapping
from typing import Literal, get_args

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
        """Answer a conversation. Raises ConfigError for a mode that the student has no prompt for."""
        trained: StudentMode = {"concise": "direct", "hidden": "explain"}.get(mode, mode)  # type: ignore[assignment]
        replies, turns = await self.reply(messages, trained)
        last = replies[-1]
        rationale, answer = self.read(turns[-1]["content"], trained)
        shown = turns[-1]["content"] if mode == "explain" else (answer or turns[-1]["content"])
        confidence = answer_confidence(last, self.card.marker)
        return Answer(
            answer=shown,
            mode=mode,
            tokens=sum(r.completion_tokens for r in replies),
            confidence=None if confidence is None else round(math.exp(confidence), 4),
            reasoning=rationale or None,
            finished=last.finish_reason == "stop",
            seconds=round(sum(r.seconds for r in replies), 3),
            fault=last.fault,
        )

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
        self, messages: list[Message], mode: StudentMode, *, temperature: float = 0.0, index: int = 0, seed: int = 0
    ) -> tuple[list[Completion], list[Message]]:
        """The model's completions and the new turns; greedy unless a temperature is given."""
        prompt = self.prompt(messages, mode)
        stop = [CLOSE] if mode == "tool" else []
        request = Request(temperature=temperature, max_tokens=self._max_tokens[mode], stop=stop, index=index, seed=seed)
        if mode == "tool":
            return await run_tool_loop(self.engine.chat, prompt, request, self._tools, self.card.max_turns)
        reply = await self.engine.chat(prompt, request)
        return [reply], [{"role": "assistant", "content": reply.text}]

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
