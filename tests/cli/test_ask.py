"""`rdistill ask` with a scripted student: its modes, JSON lines in and out, and how it says no."""

import asyncio
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from command import error, rdistill
from scripted import Reply, ScriptedEngine, completion_of

from rdistill import process
from rdistill.errors import TeacherError
from rdistill.infer import ask as ask_module
from rdistill.infer.card import Card
from rdistill.ledger import Ledger
from rdistill.run import RunFolder


@pytest.fixture
def student(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScriptedEngine:
    """A scripted student instead of vLLM."""
    engine = ScriptedEngine(
        lambda m, r: Reply("Adding them.\n#### 7" if "step" in m[0]["content"] else "7"), identity="student"
    )

    async def start(*_: Any, **__: Any) -> ScriptedEngine:
        return engine

    monkeypatch.setenv("RDISTILL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ask_module, "start_vllm", start)
    monkeypatch.setattr(process, "prepare_this_process", lambda: None)
    return engine


MODEL = "bundled:smollm2-135m-instruct"


def test_ask_prints_the_answer_alone(student: ScriptedEngine) -> None:
    done = rdistill("ask", MODEL, "What is 3 + 4?")
    assert (done.code, done.out, done.err) == (0, "7\n", "")
    assert rdistill("ask", MODEL, "What is 3 + 4?", "--mode", "hidden").out == "7\n"
    assert rdistill("ask", MODEL, "What is 3 + 4?", "--mode", "explain").out == "Adding them.\n#### 7\n"


def test_ask_gives_json(student: ScriptedEngine) -> None:
    found = json.loads(rdistill("ask", MODEL, "What is 3 + 4?", "--json").out)
    assert (found["answer"], found["mode"], found["tokens"]) == ("7", "concise", 1)
    assert 0 < found["confidence"] <= 1


def test_ask_reads_json_lines(student: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = '{"question": "What is 3 + 4?", "id": "a"}\n{"question": "And 4 + 3?", "mode": "hidden"}\n'
    for arguments in (("-",), ()):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
        found = [json.loads(line) for line in rdistill("ask", MODEL, *arguments).out.splitlines()]
        assert [(f["id"], f["mode"], f["answer"], f["reasoning"]) for f in found] == [
            ("a", "concise", "7", None),
            ("2", "hidden", "7", "Adding them."),
        ]


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        (("none/at/all", "q"), 3, "RUN_OR_MODEL='none/at/all' is no folder here and no hub id"),
        ((MODEL, "q", "--mode", "loud"), 2, "the question: mode 'loud'; expected one of concise"),
        ((MODEL, " "), 2, "the question: expected 'question' (text)"),
        ((MODEL, "-"), 2, "no question; give one as an argument"),
    ],
)
def test_ask_says_what_is_wrong(
    student: ScriptedEngine, monkeypatch: pytest.MonkeyPatch, arguments: tuple, code: int, part: str
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    done = rdistill("ask", *arguments)
    assert (done.code, done.out) == (code, "") and part in error(done)


def test_an_answer_that_was_cut_is_not_taken_for_whole(student: ScriptedEngine) -> None:
    student.script = lambda messages, request: Reply("", "length")
    done = rdistill("ask", MODEL, "What is 3 + 4?")
    assert (done.code, done.out) == (0, "\n")
    assert done.err == "warning: the answer is not finished, it ended at its token limit\n"
    assert rdistill("ask", MODEL, "What is 3 + 4?", "--json").err == ""


def test_answers_come_in_order_as_they_finish_and_one_failure_costs_no_other(
    student: ScriptedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def chat(messages: Any, request: Any) -> Any:
        number = int(messages[-1]["content"])
        if number == 1:
            raise TeacherError("no completion")
        while number == 4 and '"answer": "3"' not in sys.stdout.getvalue():  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
        return completion_of(Reply("", "refused", "no such role") if number == 2 else Reply(str(number)))

    student.chat = chat  # type: ignore[method-assign]
    lines = "".join(f'{{"question": "{n}"}}\n' for n in range(5))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines.encode())))
    done = rdistill("ask", MODEL, "-")
    found = [json.loads(line) for line in done.out.splitlines()]
    assert [(f["id"], f["answer"], f["fault"]) for f in found] == [
        ("1", "0", None),
        ("2", "", "no completion"),
        ("3", "", "no such role"),
        ("4", "3", None),
        ("5", "4", None),
    ]
    assert done.code == 4 and "error: no answer to 2 of 5 questions: no completion (" in done.err


def test_ask_of_an_unfinished_run_says_how_to_finish_it(tmp_path: Path, student: ScriptedEngine) -> None:
    run = RunFolder(tmp_path / "run")
    with Ledger(run.ledger):
        pass
    done = rdistill("ask", run.root, "q")
    assert done.code == 2 and "has no trained student yet; finish it with: rdistill run" in error(done)


def test_ask_in_a_mode_that_was_not_trained(student: ScriptedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask_module, "find_student", lambda name: (MODEL, Card(prompts={"direct": "d"}, marker="#")))
    done = rdistill("ask", MODEL, "q", "--mode", "hidden")
    assert done.code == 2 and "mode 'hidden' was not trained; this student has direct" in error(done)


def test_a_failing_student_names_the_log(student: ScriptedEngine, tmp_path: Path) -> None:
    student.fail_at = 1
    done = rdistill("ask", MODEL, "q")
    assert done.code == 4 and str(tmp_path / "cache" / "ask.log") in error(done)
