"""How the teacher is asked: prompts, chains of samples, tool loops; and what is read out of a reply."""

import asyncio
from typing import Any

import pytest
from rdistill.verifiers.math import Math
from scripted import Reply, ScriptedEngine

from rdistill.answers import join_answer, normalise_reasoning, split_answer
from rdistill.config import Config, SandboxConfig
from rdistill.records import Problem, Sample
from rdistill.teacher.engine import Completion, Request
from rdistill.teacher.modes import Teacher, answer_confidence, run_tool_loop, sandbox_of
from rdistill.tools import make_tools

CALL = '<tool_call>{"name": "calculator", "arguments": {"expression": "6 * 7"}}'
TOOLS = make_tools(["calculator"], SandboxConfig())


def make_teacher(engine: Any, **options: Any) -> Teacher:
    config = Config.model_validate(
        {
            "name": "t",
            "prompts": {"sources": [{"task": "word_problems", "size": 9}]},
            "teacher": {"model": "m", "system": "Think. ####", **options},
            "student": {"model": "m"},
        }
    )
    return Teacher(config, engine.chat, engine.identity, TOOLS)


def ask(engine: Any, *messages: dict, **options: Any) -> list[Sample]:
    asked = list(messages) or [{"role": "user", "content": "What is 6 * 7?"}]
    problem = Problem(id="p", messages=asked, gold="42", cluster="c", split="train")
    return asyncio.run(make_teacher(engine, **options).samples(problem, 3))


def says(*replies: Reply | str) -> ScriptedEngine:
    """An engine that gives these replies, one after the other."""
    waiting = iter([Reply(r) if isinstance(r, str) else r for r in replies])
    return ScriptedEngine(lambda messages, request: next(waiting))


def test_a_rationale_is_one_question_and_one_sample() -> None:
    engine = says("Six sevens.\n#### 42")
    (sample,) = ask(engine, examples=[{"question": "1?", "reply": "#### 1"}])
    messages, request = engine.calls[0]
    assert [m["role"] for m in messages] == ["system", "user", "assistant", "user"]
    assert (request.index, request.temperature) == (3, 0.8)
    assert (sample.rationale, sample.answer, sample.role) == ("Six sevens.", "42", "answer")
    assert sample.usage["completion_tokens"] == 4 and sample.confidence == pytest.approx(-0.1)


def test_the_problems_own_system_text_comes_after_the_teachers() -> None:
    engine = says("#### 1")
    ask(engine, {"role": "system", "content": "Metric units."}, {"role": "user", "content": "How far?"})
    assert [m["content"] for m in engine.calls[0][0]] == ["Think. ####\n\nMetric units.", "How far?"]


def test_critique_and_revision_follow_from_the_draft() -> None:
    engine = says("Bad.\n#### 41", "It is 42.", "Good.\n#### 42")
    draft, critique, revision = ask(engine, mode="critique_revise", critique="Mistakes?", revise="Again.")
    assert [s.role for s in (draft, critique, revision)] == ["draft", "critique", "revision"]
    assert draft.parent_id is None and critique.parent_id == revision.parent_id == draft.id
    assert (draft.answer, critique.answer, revision.answer) == ("41", None, "42")
    assert [m["content"] for m in engine.calls[2][0][2:]] == ["Bad.\n#### 41", "Mistakes?", "It is 42.", "Again."]


NOTHING = Reply("", "refused", "HTTP 400: no")


@pytest.mark.parametrize("good", [0, 1, 2])
def test_a_chain_ends_where_a_request_comes_to_nothing(good: int) -> None:
    engine = says(*["Text.\n#### 41"] * good, NOTHING)
    samples = ask(engine, mode="critique_revise")
    assert [s.role for s in samples] == ["draft", "critique", "revision"][: good + 1] and len(engine.calls) == good + 1
    assert [s.finish_reason for s in samples] == ["stop"] * good + ["refused"]
    assert [s.fault for s in samples] == [None] * good + ["HTTP 400: no"]


def test_a_trace_ends_where_a_request_comes_to_nothing() -> None:
    (sample,) = ask(says(CALL, NOTHING), mode="tool_trace")
    assert [m["role"] for m in sample.messages] == ["assistant", "tool", "assistant"]
    assert (sample.answer, sample.finish_reason, sample.fault) == (None, "refused", "HTTP 400: no")


def test_a_trace_runs_its_calls_and_keeps_every_turn() -> None:
    engine = says(CALL, "So it is 42.\n#### 42")
    (sample,) = ask(engine, mode="tool_trace")
    assert [m["role"] for m in sample.messages] == ["assistant", "tool", "assistant"]
    assert sample.messages[0]["content"] == CALL + "</tool_call>" and sample.messages[1]["content"] == "42"
    assert (sample.answer, sample.finish_reason) == ("42", "stop")
    assert sample.usage["completion_tokens"] == sum(len(t.split()) for t in (CALL, "So it is 42.\n#### 42"))
    second, request = engine.calls[1]
    assert second[-1] == {"role": "user", "content": "<tool_response>\n42\n</tool_response>"}
    assert request.stop == ["</tool_call>"] and "calculator" in second[0]["content"]


@pytest.mark.parametrize(
    ("call", "part"),
    [
        ('<tool_call>{"tool": "calculator"}', "error: tool call: expected"),
        ('<tool_call>{"name": "calculator"}', "error: "),
        ('<tool_call>{"name": "rm", "arguments": {}}', "error: no tool 'rm'; there is calculator"),
        ('<tool_call>{"name": "calculator", "arguments": {"expression": "1/0"}}', "error: division by zero"),
        ("<tool_call>not json", "error: tool call: not JSON"),
        ("</tool_call><tool_call>{}", "error: </tool_call> without"),
    ],
)
def test_a_call_that_fails_is_an_answer_to_the_model(call: str, part: str) -> None:
    engine = says(call, "#### 1")
    (sample,) = ask(engine, mode="tool_trace")
    assert sample.messages[1]["content"].startswith(part)
    assert sample.answer == "1"


def test_a_call_without_tags_is_run_and_gets_them() -> None:
    bare = CALL.removeprefix("<tool_call>")
    (sample,) = ask(says(bare, "#### 42"), mode="tool_trace")
    assert [m["content"] for m in sample.messages] == [f"{CALL}</tool_call>", "42", "#### 42"]


@pytest.mark.parametrize(
    "text", ['{"name": "calculator"}', "{1}", 'Call {"name": "calculator", "arguments": {}}', "{" * 9999]
)
def test_what_is_no_bare_call_stays_an_answer(text: str) -> None:
    (sample,) = ask(says(text), mode="tool_trace")
    assert [m["content"] for m in sample.messages] == [text]


def test_a_trace_ends_when_its_turns_are_spent() -> None:
    engine = says(*[CALL] * 9)
    (sample,) = ask(engine, mode="tool_trace", max_turns=3)
    assert len(engine.calls) == 3
    assert sample.messages[-1]["role"] == "assistant" and sample.answer is None


def test_a_trace_keeps_the_thinking_of_each_turn_and_shows_it_to_nobody_again() -> None:
    class Thinker(ScriptedEngine):
        async def chat(self, messages: list, request: Request) -> Completion:
            found = await super().chat(messages, request)
            return found.model_copy(update={"reasoning": f"Thought {len(self.calls)}."})

    waiting = iter([Reply(CALL), Reply("#### 42")])
    engine = Thinker(lambda messages, request: next(waiting))
    (sample,) = ask(engine, mode="tool_trace")
    assert [m.get("reasoning") for m in sample.messages] == ["Thought 1.", None, "Thought 2."]
    assert sample.messages[0]["content"] == CALL + "</tool_call>"
    assert not any("Thought" in str(message) for message in engine.calls[1][0])


def test_a_trace_ends_at_a_reply_of_which_nobody_knows_whether_it_is_whole() -> None:
    fault = {"finish_reason": "unclear", "fault": "finish_reason='done' is not known"}

    async def chat(messages: list, request: Request) -> Completion:
        return Completion(text=CALL, prompt_tokens=1, completion_tokens=1, **fault)

    replies, turns = asyncio.run(run_tool_loop(chat, [], Request(temperature=0, max_tokens=9), TOOLS, 4))
    assert len(replies) == len(turns) == 1


def test_a_trace_says_at_which_level_its_code_ran() -> None:
    tools = make_tools(["calculator", "python"], SandboxConfig())
    code = '<tool_call>{"name": "python", "arguments": {"code": "print(6 * 7)"}}</tool_call>'
    answer = {"role": "assistant", "content": "#### 42"}
    for call, level in ((code, "strong"), (CALL + "</tool_call>", None), ("<tool_call>{}</tool_call>", None)):
        turns = [{"role": "assistant", "content": call}, {"role": "tool", "content": "42"}, answer]
        assert sandbox_of(turns, tools) == level
    assert sandbox_of([{"role": "assistant", "content": code}], tools) is None, "the last turn's calls are not run"


def test_a_trace_without_an_answer_is_not_right_by_the_numbers_in_its_call() -> None:
    (sample,) = ask(says(CALL), mode="tool_trace", max_turns=1)
    problem = Problem(id="p", messages=[], gold="7", cluster="c", split="train")
    verdict = Math().check(problem, sample)
    assert (verdict.status, verdict.reason) == ("fail", "NO_ANSWER")


def test_a_call_that_was_cut_short_is_neither_closed_nor_run() -> None:
    engine = says(Reply(CALL[:30], "length"))
    (sample,) = ask(engine, mode="tool_trace")
    assert sample.text == CALL[:30] and sample.finish_reason == "length" and len(sample.messages) == 1


def test_many_calls_in_one_turn_all_run() -> None:
    engine = says(f"{CALL}</tool_call> {CALL.replace('7', '8')}", "#### 48")
    (sample,) = ask(engine, mode="tool_trace")
    assert sample.messages[1]["content"] == "42\n48"


def test_reasoning_beside_the_reply_is_part_of_the_rationale() -> None:
    class Thinks(ScriptedEngine):
        async def chat(self, messages: list, request: Request) -> Completion:
            reply = await super().chat(messages, request)
            return reply.model_copy(update={"reasoning": "Let me see."})

    engine = Thinks(lambda messages, request: Reply("Fine.\n#### 42"))
    (sample,) = ask(engine)
    assert sample.rationale == "Let me see.\nFine."


def test_a_sample_is_named_by_what_it_says_and_how_it_was_asked() -> None:
    first, same, other = (ask(says(text))[0].id for text in ("#### 1", "#### 1", "#### 2"))
    assert first == same != other
    assert ask(says("#### 1"), sampling={"temperature": 0.1})[0].id != first


def test_the_loop_asks_until_there_is_no_call() -> None:
    engine = says(CALL, CALL, "done")
    replies, turns = asyncio.run(
        run_tool_loop(engine.chat, [], Request(temperature=0, max_tokens=9), TOOLS, max_turns=8)
    )
    assert len(replies) == 3 and [m["role"] for m in turns] == ["assistant", "tool"] * 2 + ["assistant"]


# What is read out of text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\n#### 7", ("a", "7")),
        ("#### 7 ", ("", "7")),
        ("a #### 3\nb #### 7\nmore", ("a #### 3\nb", "7")),
        ("no marker", ("no marker", None)),
        ("a\n####", ("a", None)),
        ("a\n####\n\n 7 \n", ("a", "7")),
        ("", ("", None)),
        ("#### 1. Add:\n3 + 4 = 7\n#### Final answer:\n7", ("#### 1. Add:\n3 + 4 = 7\n#### Final answer:\n7", None)),
        ("a\n#### **Answer:**\n7", ("a\n#### **Answer:**\n7", None)),
        ("a\n#### 10:30", ("a", "10:30")),
    ],
)
def test_the_answer_is_what_follows_the_last_marker(text: str, expected: tuple) -> None:
    assert tuple(split_answer(text, "####")) == expected


def test_joining_is_the_inverse_of_splitting() -> None:
    for rationale, answer in (("Some\nlines.", "7 apples"), ("", "x")):
        assert tuple(split_answer(join_answer(rationale, answer, "####"), "####")) == (rationale, answer)


@pytest.mark.parametrize(
    ("text", "reasoning", "expected"),
    [
        ("answer", None, (None, "answer", True)),
        ("<think>why</think>answer", None, ("why", "answer", True)),
        ("why</think> answer", None, ("why", "answer", True)),
        ("<think>why and on", None, ("why and on", "", False)),
        ("<think>a</think>b<think>c", None, ("abc", "", False)),
        ("<think>a</think><think>b</think>c", None, ("ab", "c", True)),
        ("answer", " why ", ("why", "answer", True)),
        ("", "why", ("why", "", True)),
        ("", None, (None, "", True)),
    ],
)
def test_thinking_is_told_from_the_reply(text: str, reasoning: str | None, expected: tuple) -> None:
    assert normalise_reasoning(text, reasoning) == expected


def test_confidence_is_over_the_answers_tokens() -> None:
    def reply(tokens: list[str] | None, logprobs: list[float] | None) -> Completion:
        return Completion(
            text="", finish_reason="stop", prompt_tokens=0, completion_tokens=0, tokens=tokens, logprobs=logprobs
        )

    assert answer_confidence(reply(["a ", "####", " 4", "2"], [-9, -9, -0.2, -0.4]), "####") == pytest.approx(-0.3)
    assert answer_confidence(reply(["##", "## ", "4"], [-9, -1, -0.5]), "####") == pytest.approx(-0.5)
    assert answer_confidence(reply(["a", "b"], [-1, -3]), "####") == -2
    assert answer_confidence(reply(["a", "####"], [-1, -3]), "####") is None
    assert answer_confidence(reply(None, None), "####") is None


def test_a_hint_follows_the_question_and_that_of_worked_examples_with_one() -> None:
    examples = [
        {"question": "2 bees and 1?", "reply": "2 + 1 = 3 #### 3", "hint": "2 + 1"},
        {"question": "1?", "reply": "#### 1"},
    ]
    problem = Problem(id="p", messages=[{"role": "user", "content": "4?"}], gold="4", cluster="c", split="train")
    teacher = make_teacher(says(), examples=examples, hint="Use {hint} = {gold}.")
    asked = {
        hint: [m["content"] for m in teacher.prompt(problem, hint) if m["role"] == "user"] for hint in (True, False)
    }
    assert asked == {
        True: ["2 bees and 1?\nUse 2 + 1 = 3.", "1?", "4?\nUse 4 = 4."],
        False: ["2 bees and 1?", "1?", "4?"],
    }
    assert problem.messages[0]["content"] == "4?"
