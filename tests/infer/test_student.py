"""A student's answers in each mode, its card, and the questions that `ask` takes."""

import asyncio
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from scripted import Reply, ScriptedEngine

from rdistill.config import Config, SandboxConfig
from rdistill.errors import ConfigError, DataError
from rdistill.infer.ask import read_questions
from rdistill.infer.card import CARD, Card, find_student, make_card, read_card, write_card
from rdistill.infer.concise import Answer, Student
from rdistill.ledger import Ledger
from rdistill.records import Problem
from rdistill.run import RunFolder, write_durable
from rdistill.tools import make_tools

PROMPTS = {"explain": "Explain.", "direct": "Only the answer.", "tool": "Use the calculator."}
QUESTION = [{"role": "user", "content": "What is 6 * 7?"}]
CALL = '<tool_call>{"name": "calculator", "arguments": {"expression": "6 * 7"}}'


def answer(mode: str, *replies: Reply | str, messages: list | None = None, **card: Any) -> tuple[Answer, list]:
    """The student's answer, and what its engine was asked."""
    waiting = iter([Reply(r) if isinstance(r, str) else r for r in replies])
    engine = ScriptedEngine(lambda messages, request: next(waiting))
    student = Student(
        engine, Card(**{"prompts": PROMPTS, "marker": "####", **card}), make_tools(["calculator"], SandboxConfig())
    )
    return asyncio.run(student.answer(messages or QUESTION, mode)), engine.calls


def test_direct_is_the_reply_itself() -> None:
    found, ((messages, request),) = answer("direct", "42")
    assert (found.answer, found.reasoning, found.mode, found.tokens) == ("42", None, "direct", 1)
    assert [m["content"] for m in messages] == ["Only the answer.", "What is 6 * 7?"]
    assert (request.temperature, request.max_tokens) == (0, 64)
    assert found.confidence == pytest.approx(math.exp(-0.1), abs=1e-4)


def test_concise_is_direct_by_default() -> None:
    found, ((messages, _),) = answer("concise", "42")
    assert (found.answer, found.mode) == ("42", "concise") and messages[0]["content"] == "Only the answer."


def test_hidden_reasons_and_shows_the_answer_alone() -> None:
    found, ((messages, request),) = answer("hidden", "Six sevens are 42.\n#### 42")
    assert (found.answer, found.reasoning) == ("42", "Six sevens are 42.")
    assert messages[0]["content"] == "Explain." and request.max_tokens == 512


def test_explain_shows_all() -> None:
    found, _ = answer("explain", "Six sevens are 42.\n#### 42")
    assert found.answer == "Six sevens are 42.\n#### 42" and found.reasoning == "Six sevens are 42."


def test_tool_runs_the_call() -> None:
    found, calls = answer("tool", CALL, "#### 42")
    assert found.answer == "42" and len(calls) == 2
    assert calls[1][0][-1]["content"] == "<tool_response>\n42\n</tool_response>"
    assert found.tokens == len(CALL.split()) + 2


def test_the_card_says_how_many_turns_may_call_tools() -> None:
    found, calls = answer("tool", CALL, CALL, CALL, CALL, CALL, "#### 42", max_turns=6)
    assert found.answer == "42" and len(calls) == 6
    engine = ScriptedEngine(lambda messages, request: Reply(CALL))
    student = Student(
        engine, Card(prompts=PROMPTS, marker="####", max_turns=3), make_tools(["calculator"], SandboxConfig())
    )
    problem = Problem(id="p", messages=QUESTION, gold="42", cluster="c", split="test")
    assert asyncio.run(student.sample(problem, "tool")).answer is None, "a call that is open is no answer"
    assert len(engine.calls) == 3


def test_an_explanation_without_an_answer_is_shown_as_it_is() -> None:
    found, _ = answer("hidden", Reply("Six sevens are", "length"))
    assert (found.answer, found.finished) == ("Six sevens are", False)


def test_a_direct_answer_may_use_the_marker() -> None:
    assert answer("direct", "#### 42")[0].answer == "42"


def test_the_callers_own_system_text_follows_the_modes() -> None:
    messages = [{"role": "system", "content": "In metres."}, *QUESTION]
    _, ((asked, _),) = answer("direct", "42", messages=messages)
    assert [m["content"] for m in asked] == ["Only the answer.\n\nIn metres.", "What is 6 * 7?"]


def test_a_mode_that_was_not_trained_is_refused() -> None:
    with pytest.raises(ConfigError, match="mode 'tool' was not trained; this student has explain"):
        answer("tool", "42", prompts={"explain": "Explain."})


# The card


def make_config(**fields: Any) -> Config:
    tree = {
        "name": "t",
        "prompts": {"sources": [{"task": "word_problems", "size": 9}]},
        "teacher": {"model": "m", "mode": "tool_trace"},
        "student": {"model": "m", "prompts": PROMPTS},
        **fields,
    }
    return Config.model_validate(tree)


def test_the_card_holds_the_modes_that_were_trained(tmp_path: Path) -> None:
    config = make_config(select={"modes": ["direct"]}, evaluate={"modes": ["direct"]})
    assert make_card(config) == Card(prompts={"direct": "Only the answer."}, marker="####")
    with_tools = make_config(select={"modes": ["tool"]}, evaluate={"modes": ["tool"]}, answer={"marker": "=>"})
    assert make_card(with_tools) == Card(prompts={"tool": "Use the calculator."}, marker="=>", tools=["calculator"])
    write_card(tmp_path, with_tools)
    assert read_card(tmp_path) == make_card(with_tools)


def test_a_plain_model_gets_the_default_prompts(tmp_path: Path) -> None:
    assert set(read_card(tmp_path).prompts) == {"explain", "direct", "tool"}


def test_a_damaged_card_is_refused(tmp_path: Path) -> None:
    (tmp_path / CARD).write_text('{"prompts": 3}')
    with pytest.raises(DataError, match=r"not a student card .* train the model again"):
        read_card(tmp_path)


def test_a_runs_student_is_its_last_trained_model(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    Ledger(run.ledger).close()
    with pytest.raises(DataError, match="has no trained student yet; finish it with: rdistill run"):
        find_student(str(run.root))
    write_card(run.model("sft"), make_config())
    with pytest.raises(
        DataError, match=r"since stage sft is not done; .* or name the model's own folder, .*/models/sft"
    ):
        find_student(str(run.root))

    def done(stage: str, fingerprint: str, **inputs: str) -> None:
        write_durable(run.manifest(stage), json.dumps({"fingerprint": fingerprint, "inputs": inputs}))

    done("select", "s1")
    done("sft", "1", select="s1")
    assert find_student(str(run.root))[0] == str(run.model("sft"))
    run.model("dpo").mkdir()
    done("dpo", "d1", sft="1")
    assert find_student(str(run.root))[0] == str(run.model("sft")), "a model without its card is not whole"
    write_card(run.model("dpo"), make_config())
    assert find_student(str(run.root))[0] == str(run.model("dpo"))
    done("select", "s2")
    with pytest.raises(DataError, match=r"since stage select ran again after stage sft; finish it with: rdistill run"):
        find_student(str(run.root))
    done("sft", "2", select="s2")
    assert find_student(str(run.root))[0] == str(run.model("sft")), "sft was trained again since"
    assert find_student(str(run.model("sft")))[0] == str(run.model("sft"))
    assert find_student("owner/name") == ("owner/name", read_card(tmp_path))


# Questions


def test_one_question_from_the_command_line() -> None:
    (found,) = read_questions("What is 1 + 1?", "hidden", io.BytesIO())
    assert (found.id, found.mode) == ("0", "hidden") and found.messages == [
        {"role": "user", "content": "What is 1 + 1?"}
    ]


def test_a_closed_stdin_holds_no_question() -> None:
    with pytest.raises(DataError, match="no question; give one as an argument"):
        read_questions(None, "concise", None)


def test_json_lines_with_ids_modes_and_messages() -> None:
    lines = [
        {"question": "a?"},
        {"question": "b?", "id": 7, "mode": "explain"},
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "c?"}], "id": "x"},
    ]
    text = "\n\n".join(json.dumps(line) for line in lines)
    found = read_questions(None, "concise", io.BytesIO(text.encode()))
    assert [(q.id, q.mode) for q in found] == [("1", "concise"), ("7", "explain"), ("x", "concise")]
    assert found[2].messages == lines[2]["messages"]


@pytest.mark.parametrize(
    ("text", "error", "part"),
    [
        ("", DataError, "no question; give one"),
        ("  \n\n", DataError, "no question"),
        ("What is 1 + 1?", DataError, '; write e.g. {"question": "What is 3 + 4?"}'),
        ('{"question": "a?"}\n[1]', DataError, "stdin line 2 is no JSON object"),
        ('{"question": ""}', DataError, "stdin line 1: expected 'question'"),
        ('{"question": 5}', DataError, "expected 'question'"),
        ('{"messages": []}', DataError, "expected 'question'"),
        ('{"messages": [{"role": "tool", "content": "x"}]}', DataError, "expected 'question'"),
        ('{"messages": [{"role": "user", "content": null}]}', DataError, "expected 'question'"),
        ('{"question": "a?", "mode": "shout"}', ConfigError, "mode 'shout'; expected one of concise, direct"),
        ('{"question": "a?", "mode": ["direct"]}', ConfigError, "expected one of"),
        ("[" * 100_000, DataError, "is no JSON object"),
        ('{"question": "' + "x" * (2 << 20) + '"}', DataError, "stdin line 1 is too long; it may have 1048576 bytes"),
        ('{"question": "' + "\u20ac" * (1 << 19) + '"}', DataError, "stdin line 1 is too long"),
        ('\n{"question": "\udcff"}', DataError, "stdin line 2 is no JSON object ('utf-8' codec can't decode byte 0xff"),
        ('{"question": "\\ud800"}', DataError, "is no JSON object (a string holds a lone surrogate)"),
    ],
)
def test_what_is_no_question_is_named_by_its_line(text: str, error: type, part: str) -> None:
    with pytest.raises(error) as caught:
        read_questions(None, "concise", io.BytesIO(text.encode(errors="surrogateescape")))
    assert part in str(caught.value)
