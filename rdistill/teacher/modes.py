"""How the teacher is asked: each mode turns one problem and one sample index into a chain of samples.

    rationale        problem -> reasoning + answer
    critique_revise  problem -> draft -> critique -> revision (draft and revision make a pair)
    tool_trace       problem -> call -> result -> ... -> answer, each call really run

A mode is a coroutine over `ask`, so chains of many problems interleave on one engine and none waits for another.
"""

import contextlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

from rdistill.answers import split_answer
from rdistill.config import Config, TeacherConfig, WorkedExample
from rdistill.records import Message, Problem, Sample
from rdistill.teacher.engine import Completion, Request
from rdistill.tools import Tool, ToolCallError, parse_tool_calls, result_turn, with_tags
from rdistill.tools.calls import CLOSE, OPEN

Ask = Callable[[list[Message], Request], Awaitable[Completion]]


class Teacher:
    """A config's teacher over an engine: `await teacher.samples(problem, index)`.

    Samples of one call are in the order they were written; the last one is the answer to the problem.
    """

    def __init__(self, config: Config, ask: Ask, engine: str, tools: dict[str, Tool] | None = None) -> None:
        self._config: TeacherConfig = config.teacher
        self._marker, self._seed = config.answer.marker, config.seed
        self._ask, self._engine, self._tools = ask, engine, tools or {}

    async def samples(self, problem: Problem, index: int, *, hint: bool = False) -> list[Sample]:
        """One chain of samples for a problem, in the configured mode; with a hint, that is in the prompt."""
        samples: list[Sample] = await getattr(self, f"_{self._config.mode}")(problem, self.prompt(problem, hint), index)
        if hint:
            return [s.model_copy(update={"sampling": {**s.sampling, "hint": True}}) for s in samples]
        return samples

    def prompt(self, problem: Problem, hint: bool = False) -> list[Message]:
        """System prompt, worked examples, then the problem's own messages."""
        system = self._config.system
        if self._config.mode == "tool_trace":
            system += "\n\n" + describe_tools(self._tools)
        messages: list[Message] = [{"role": "system", "content": system}]
        for example in self._config.examples:
            question = self._hinted(example.question, example.hint, self._answer(example)) if hint else example.question
            messages += [{"role": "user", "content": question}, *example_turns(example)]
        own = [m for m in problem.messages if m["role"] != "system"]
        for m in problem.messages:
            if m["role"] == "system":
                messages[0] = {"role": "system", "content": f"{system}\n\n{m['content']}"}
        if hint:
            gold = str(problem.gold)
            own[-1] = {**own[-1], "content": self._hinted(own[-1]["content"], problem.hint or gold, gold)}
        return messages + own

    def _hinted(self, question: str, hint: str | None, gold: str) -> str:
        if not hint:
            return question
        said = {"{hint}": hint, "{gold}": gold}
        return f"{question}\n" + re.sub(r"\{hint\}|\{gold\}", lambda match: said[match.group()], self._config.hint)

    def _answer(self, example: WorkedExample) -> str:
        last = example.reply if isinstance(example.reply, str) else example.reply[-1]
        return split_answer(last, self._marker)[1] or ""

    def _request(self, index: int, **changes: Any) -> Request:
        s = self._config.sampling
        fields = {"temperature": s.temperature, "top_p": s.top_p, "max_tokens": s.max_tokens, "seed": self._seed}
        return Request(**{**fields, "index": index, **changes})

    async def _rationale(self, problem: Problem, messages: list[Message], index: int) -> list[Sample]:
        request = self._request(index)
        reply = await self._ask(messages, request)
        return [self._sample(problem, request, [reply])]

    async def _critique_revise(self, problem: Problem, messages: list[Message], index: int) -> list[Sample]:
        """A chain ends early at a request that comes to nothing."""
        request, samples = self._request(index), list[Sample]()
        for role, asks in (("draft", None), ("critique", self._config.critique), ("revision", self._config.revise)):
            if asks is not None:
                messages = [*messages, {"role": "user", "content": asks}]
            reply = await self._ask(messages, request)
            parent_id = samples[0].id if samples else None
            samples.append(self._sample(problem, request, [reply], role=role, parent_id=parent_id))
            if reply.fault is not None:
                break
            messages = [*messages, {"role": "assistant", "content": reply.text}]
        return samples

    async def _tool_trace(self, problem: Problem, messages: list[Message], index: int) -> list[Sample]:
        request = self._request(index, stop=[CLOSE])
        replies, turns = await run_tool_loop(self._ask, messages, request, self._tools, self._config.max_turns)
        return [self._sample(problem, request, replies, turns=turns)]

    def _sample(
        self,
        problem: Problem,
        request: Request,
        replies: list[Completion],
        *,
        turns: list[Message] | None = None,
        role: str = "answer",
        parent_id: str | None = None,
    ) -> Sample:
        last = replies[-1]
        text = last.text if turns is None else turns[-1].get("content", "")
        rationale, answer = split_answer(text, self._marker)
        if last.reasoning:
            rationale = last.reasoning if not rationale else f"{last.reasoning}\n{rationale}"
        return Sample.create(
            problem_id=problem.id,
            parent_id=parent_id,
            role=role,
            mode=self._config.mode,
            messages=turns or [{"role": "assistant", "content": text}],
            rationale=rationale or None,
            answer=answer,
            finish_reason=last.finish_reason,
            usage=total_usage(replies),
            confidence=answer_confidence(last, self._marker),
            sampling=request.model_dump(mode="json"),
            engine=self._engine,
            sandbox=sandbox_of(turns or [], self._tools),
            fault=last.fault,
        )


def example_turns(example: WorkedExample) -> list[Message]:
    """The reply of a worked example: one turn, or the model's turns with the tools' results between them."""
    turns = [example.reply] if isinstance(example.reply, str) else example.reply
    return [{"role": "assistant", "content": t} if i % 2 == 0 else result_turn(t) for i, t in enumerate(turns)]


async def run_tool_loop(
    ask: Ask, prompt: list[Message], request: Request, tools: dict[str, Tool], max_turns: int
) -> tuple[list[Completion], list[Message]]:
    """Let a model call tools until it answers or its turns are spent; returns its completions and the new messages.

    A call that cannot be parsed or run ends as an "error: ..." result that the model sees. The last message is the
    assistant's: a trace that spends its turns on calls has no answer. A turn keeps its thinking under `reasoning`, and
    the model is not shown it again.
    """
    replies: list[Completion] = []
    turns: list[Message] = []
    while True:
        reply = await ask(as_chat([*prompt, *turns]), request)
        replies.append(reply)
        text, is_cut = with_tags(reply.text), reply.finish_reason == "length"
        if OPEN in text.rpartition(CLOSE)[2] and not is_cut:
            text += CLOSE  # the stop string, which engines cut off
        thought = {"reasoning": reply.reasoning} if reply.reasoning else {}
        turns.append({"role": "assistant", "content": text, **thought})
        if OPEN not in text or len(replies) == max_turns or is_cut or reply.fault is not None:
            return replies, turns
        turns.append({"role": "tool", "content": await _run_calls(text, tools)})


async def _run_calls(text: str, tools: dict[str, Tool]) -> str:
    try:
        calls = parse_tool_calls(text)
    except ToolCallError as error:
        return f"error: {error}"
    results = []
    for call in calls:
        tool = tools.get(call.name)
        results.append(
            await tool.call(call.arguments) if tool else f"error: no tool {call.name!r}; there is {', '.join(tools)}"
        )
    return "\n".join(results)


def sandbox_of(turns: list[Message], tools: dict[str, Tool]) -> str | None:
    """The level at which code of a trace's calls ran; None where no call ran any. The last turn's are not run."""
    for turn in turns[:-1]:
        with contextlib.suppress(ToolCallError):
            for call in parse_tool_calls(turn["content"] if turn["role"] == "assistant" else ""):
                if (tool := tools.get(call.name)) and tool.level:
                    return tool.level
    return None


def as_chat(messages: list[Message]) -> list[Message]:
    """Messages as every chat template takes them."""
    shown = [{key: value for key, value in m.items() if key != "reasoning"} for m in messages]
    return [result_turn(m["content"]) if m["role"] == "tool" else m for m in shown]


def describe_tools(tools: dict[str, Tool]) -> str:
    """The system prompt's part about tools: the call format, then each tool."""
    lines = [
        'To use a tool, write only a call and stop: <tool_call>{"name": NAME, "arguments": {...}}</tool_call>',
        "Tools:",
    ]
    lines += [f"- {t.name}: {t.description} Arguments: {', '.join(t.schema['properties'])}." for t in tools.values()]
    return "\n".join(lines)


def total_usage(replies: list[Completion]) -> dict[str, int]:
    """Tokens and milliseconds summed over a chain's completions."""
    return {
        "prompt_tokens": sum(r.prompt_tokens for r in replies),
        "completion_tokens": sum(r.completion_tokens for r in replies),
        "milliseconds": round(1000 * sum(r.seconds for r in replies)),
    }


def answer_confidence(reply: Completion, marker: str) -> float | None:
    """Mean log-probability, in nats, of the tokens after the last marker (of all tokens where there is none)."""
    if not reply.tokens or not reply.logprobs:
        return None
    start = "".join(reply.tokens).rfind(marker) + len(marker) if marker in "".join(reply.tokens) else 0
    position, picked = 0, []
    for token, logprob in zip(reply.tokens, reply.logprobs, strict=True):
        if position >= start:
            picked.append(logprob)
        position += len(token)
    return sum(picked) / len(picked) if picked else None
