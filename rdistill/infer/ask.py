"""`rdistill ask`: start the student, answer questions as they come."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from rdistill.config import SandboxConfig, VllmConfig
from rdistill.errors import ConfigError, DataError, TeacherError
from rdistill.infer.card import find_student
from rdistill.infer.concise import ASK_MODES, Student
from rdistill.models import cache_folder, check_model
from rdistill.records import Message, Record
from rdistill.sandbox import Consent, require, sandbox_warnings
from rdistill.teacher.engines import start_vllm
from rdistill.tools import make_tools

MAX_LINE_BYTES = 1 << 20


class Question(Record):
    """A conversation to answer."""

    id: str
    messages: list[Message]
    mode: str


def read_questions(question: str | None, mode: str, stream: TextIO) -> list[Question]:
    """One question from the command line, or JSON lines from a stream.

    Raises: ConfigError for an unknown mode; DataError with the line number for a line that is no question.
    """
    if question is not None:
        return [_question({"question": question}, "0", mode, "the question")]
    found = []
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line) if len(line) <= MAX_LINE_BYTES else None
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise DataError(f'stdin line {number} is no JSON object; write e.g. {{"question": "What is 3 + 4?"}}')
        found.append(_question(row, str(number), mode, f"stdin line {number}"))
    if not found:
        raise DataError('no question; give one as an argument, or JSON lines like {"question": "..."} on stdin')
    return found


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


def answer_all(run_or_model: str, questions: list[Question], consent: Consent = Consent()) -> Iterator[dict[str, Any]]:
    """Answers in the order of the questions: {"id", "answer", "mode", "tokens", "confidence", ...}.

    Raises: ConfigError for a mode that was not trained; PrerequisiteError or TeacherError if the model is not served.
    """
    model, card = find_student(run_or_model)
    check_model(model, "RUN_OR_MODEL")
    trained = {"concise": "direct", "hidden": "explain"}
    for q in questions:
        if trained.get(q.mode, q.mode) not in card.prompts:
            raise ConfigError(f"mode {q.mode!r} was not trained; this student has {', '.join(card.prompts)}")
    if "python" in card.tools and uses_tools(questions):
        lowest = SandboxConfig().require
        for warning in sandbox_warnings(require(lowest, consent), lowest):
            print(f"warning: {warning}", file=sys.stderr)
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    log = _log_file()
    try:
        with _noise_to(log):
            answers = asyncio.run(_answer_all(model, card, questions))
    except TeacherError as error:
        raise TeacherError(f"{error} ({log})") from None
    yield from answers


def uses_tools(questions: Iterable[Question]) -> bool:
    return any(question.mode == "tool" for question in questions)


async def _answer_all(model: str, card: Any, questions: list[Question]) -> list[dict[str, Any]]:
    engine = await start_vllm(model, None, VllmConfig())
    try:
        tools = make_tools(card.tools, SandboxConfig()) if uses_tools(questions) else {}
        student = Student(engine, card, tools)
        found = await asyncio.gather(*(student.answer(q.messages, q.mode) for q in questions))  # type: ignore[arg-type]
    finally:
        await engine.close()
    return [{"id": q.id} | a.model_dump(mode="json") for q, a in zip(questions, found, strict=True)]


def _log_file() -> Path:
    """Where the engine's own output goes: the newest `ask` in the cache folder."""
    path = cache_folder() / "ask.log"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError:
        return Path(os.devnull)
    return path


@contextlib.contextmanager
def _noise_to(path: Path) -> Iterator[None]:
    """Send what vLLM and its processes print elsewhere: stdout is for answers."""
    if os.environ.get("RDISTILL_VERBOSE"):
        yield
        return
    kept = os.dup(1), os.dup(2)
    with path.open("w") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            for number, copy in enumerate(kept, 1):
                os.dup2(copy, number)
                os.close(copy)
