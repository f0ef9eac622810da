"""`rdistill ask`: read all questions, start the student, give the answers in order, each as soon as it is there."""

import asyncio
import os
import sys
from collections.abc import Coroutine, Generator, Iterable
from typing import Any, BinaryIO, TypeVar

from rdistill.config import VllmConfig
from rdistill.errors import ConfigError, DataError, TeacherError
from rdistill.infer.card import Card, find_student
from rdistill.infer.concise import ASK_MODES, TRAINED, Answer, Student
from rdistill.infer.noise import log_file, noise_to
from rdistill.models import check_model
from rdistill.records import Message, Record
from rdistill.sandbox import Consent, require, sandbox_warnings
from rdistill.strict_json import loads_strict
from rdistill.teacher.engines import start_vllm
from rdistill.tools import make_tools

MAX_LINE_BYTES = 1 << 20
T = TypeVar("T")
Answers = Generator[dict[str, Any], None, None]


class Question(Record):
    """A conversation to answer."""

    id: str
    messages: list[Message]
    mode: str


def read_questions(question: str | None, mode: str, stream: BinaryIO | None) -> list[Question]:
    """One question from the command line, or JSON lines from a stream (None: stdin is closed).

    Raises: ConfigError for an unknown mode; DataError with the line number for a line that is no question.
    """
    if question is not None:
        return [_question({"question": question}, "0", mode, "the question")]
    found = []
    lines = iter(lambda: stream.readline(MAX_LINE_BYTES + 1), b"") if stream is not None else ()
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"stdin line {number}"
            found.append(_question(_read_row(line, where), str(number), mode, where))
    if not found:
        raise DataError('no question; give one as an argument, or JSON lines like {"question": "..."} on stdin')
    return found


def _read_row(line: bytes, where: str) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise DataError(f"{where} is too long; it may have {MAX_LINE_BYTES} bytes")
    try:
        row = loads_strict(line.decode("utf-8"), max_chars=MAX_LINE_BYTES)
        if not isinstance(row, dict):
            raise ValueError(f"it holds {type(row).__name__}")
    except ValueError as error:
        raise DataError(f'{where} is no JSON object ({error}); write e.g. {{"question": "What is 3 + 4?"}}') from None
    return row


def _question(row: dict[str, Any], default_id: str, mode: str, where: str) -> Question:
    mode = row.get("mode", mode)
    if mode not in ASK_MODES:
        raise ConfigError(f"{where}: mode {mode!r}; expected one of {', '.join(ASK_MODES)}")
    messages = row.get("messages")
    if messages is None and isinstance(row.get("question"), str) and row["question"].strip():
        messages = [{"role": "user", "content": row["question"]}]
    good = (
        isinstance(messages, list)
        and messages
        and all(
            isinstance(m, dict)
            and isinstance(m.get("content"), str)
            and m.get("role") in ("system", "user", "assistant")
            for m in messages
        )
    )
    if not good or messages is None:
        raise DataError(f"{where}: expected 'question' (text) or 'messages' (chat messages with role and content)")
    return Question(id=str(row.get("id", default_id)), messages=messages, mode=mode)


def answer_all(run_or_model: str, questions: list[Question], consent: Consent = Consent()) -> Answers:
    """Answers in the order of the questions, as they finish: {"id", "answer", "mode", "tokens", "confidence", ...}.

    Raises: ConfigError for a mode that was not trained; PrerequisiteError or TeacherError if the model is not served,
    and TeacherError at the end if questions had no answer.
    """
    model, card = find_student(run_or_model)
    check_model(model, "RUN_OR_MODEL")
    _check_modes(card, questions, consent)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    log, faults = log_file("ask"), []
    tools = make_tools(card.tools, card.sandbox) if uses_tools(questions) else {}
    with asyncio.Runner() as runner:

        def quietly(work: Coroutine[Any, Any, T]) -> T:
            with noise_to(log):
                return runner.run(work)

        try:
            engine = quietly(start_vllm(model, None, VllmConfig(max_model_len=card.max_model_len)))
        except TeacherError as error:
            raise TeacherError(f"{error} ({log})") from None
        try:
            tasks = quietly(_begin(Student(engine, card, tools), questions))
            for question, task in zip(questions, tasks, strict=True):
                answer = quietly(_end(task))
                faults += [answer.fault] if answer.fault is not None else []
                yield {"id": question.id} | answer.model_dump(mode="json")
        finally:
            quietly(engine.close())
    if faults:
        raise TeacherError(f"no answer to {len(faults)} of {len(questions)} questions: {faults[0]} ({log})")


def _check_modes(card: Card, questions: list[Question], consent: Consent) -> None:
    for q in questions:
        if TRAINED[q.mode] not in card.prompts:
            raise ConfigError(f"mode {q.mode!r} was not trained; this student has {', '.join(card.prompts)}")
    for warning in settle_sandbox(card, consent) if uses_tools(questions) else []:
        print(f"warning: {warning}", file=sys.stderr)


def settle_sandbox(card: Card, consent: Consent) -> list[str]:
    """What to say of the sandbox that the student's tools run in. Raises PrerequisiteError if it is not there."""
    if "python" not in card.tools:
        return []
    lowest = card.sandbox.require
    return sandbox_warnings(require(lowest, consent, card.sandbox.url), lowest)


def uses_tools(questions: Iterable[Question]) -> bool:
    return any(question.mode == "tool" for question in questions)


async def _begin(student: Student, questions: list[Question]) -> list[asyncio.Task[Answer]]:
    """All questions at once: the engine queues them."""
    return [asyncio.create_task(_answer(student, question)) for question in questions]


async def _end(task: asyncio.Task[Answer]) -> Answer:
    return await task


async def _answer(student: Student, question: Question) -> Answer:
    """An answer, or why there is none: it costs no other question its own."""
    try:
        return await student.answer(question.messages, question.mode)  # type: ignore[arg-type]
    except TeacherError as error:
        return Answer(answer="", mode=question.mode, tokens=0, confidence=None, finished=False, fault=str(error))
