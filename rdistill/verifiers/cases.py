"""A verifier's error rates on rows whose right verdict is known.

    {"id": ..., "gold": ..., "answer": ..., "expected": "pass" | "fail"}

`answer` is the whole reply; without its thinking it is split at the marker, as a teacher's reply is. A row may also
have `finish_reason`, `mode`, `tools` and `messages` (the turns of a tool trace, in place of `answer`); and, for a
verifier that judges a problem's samples together, `others`: the replies of the other samples.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, StrictStr, ValidationError, model_validator

from rdistill.answers import normalise_reasoning, split_answer
from rdistill.config import VerifierSpec
from rdistill.errors import ConfigError, DataError, RdistillError, VerifierError
from rdistill.explain import explain_validation
from rdistill.records import Problem, Sample, Status, TeacherMode, Verdict, content_id
from rdistill.strict_json import loads_strict
from rdistill.verifiers import registry
from rdistill.verifiers.pool import VerifierPool
from rdistill.verifiers.registry import list_verifiers

__all__ = ["list_verifiers", "read_cases", "run_all_cases", "run_cases"]

MARKER = "####"
IN_FLIGHT = 32
MAX_CHARS = 1 << 24


class Turn(BaseModel):
    """One message of a case."""

    model_config = ConfigDict(extra="allow")
    role: StrictStr
    content: StrictStr | None = None


class Case(BaseModel):
    """What a row must look like; keys beside these are left alone."""

    id: Any
    gold: Any
    answer: Any = None
    expected: Literal["pass", "fail"]
    question: StrictStr = ""
    finish_reason: StrictStr = "stop"
    mode: TeacherMode = "rationale"
    messages: list[Turn] | None = None
    tools: list[dict[str, Any]] | None = None
    final: StrictStr | None = None
    others: list[Any] = []

    @model_validator(mode="after")
    def is_whole(self) -> "Case":
        if type(self.id) not in (str, int):
            raise ValueError(f"id={json.dumps(self.id)[:80]}: expected text or a whole number")
        if not {"answer", "messages"} & self.model_fields_set:
            raise ValueError("it has neither an answer nor messages; add one")
        return self


def run_cases(
    name: str,
    cases_path: str | Path | None = None,
    options: dict[str, Any] | None = None,
    *,
    workers: int = 2,
    timeout_s: float = 5,
) -> dict[str, Any]:
    """Judge every case, each within `timeout_s`, and count.

    Returns {"n", "true_accepted", "false_accepted", "unverifiable", "wrong": [ids], "why": {id: verdict}, "per_s"}:
    `true_accepted` is the share of the rows to pass that passed, `false_accepted` the share of the rows to fail that
    passed, `unverifiable` the share of all rows (null where there are none); a row is wrong if it passed and should
    not have, or the reverse, and `why` has the verdict on each wrong one.
    Raises: ConfigError for a verifier that is unknown or cannot be built, DataError for an unreadable case file.
    """
    registry.require(name)
    rows = read_cases(Path(cases_path) if cases_path else registry.folder(name) / "cases.jsonl")
    marker = (options or {}).get("marker", MARKER)
    pairs = [(*to_pair(row, marker), to_others(row, marker)) for row in rows]
    spec = VerifierSpec(name=name, options=options or {}, timeout_s=timeout_s)
    try:
        verdicts, seconds = asyncio.run(_judge(spec, pairs, workers))
    except VerifierError as error:
        raise ConfigError(str(error)) from None
    return {**_count(rows, verdicts), "per_s": round(len(rows) / seconds, 1)}


def run_all_cases(*, timeout_s: float = 5) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """run_cases of every installed verifier on its own cases, and why some cannot be tested; both by name."""
    results, left_out = {}, {}
    for name, _, _ in list_verifiers():
        try:
            results[name] = run_cases(name, timeout_s=timeout_s)
        except RdistillError as error:
            left_out[name] = str(error)
    return results, left_out


def read_cases(path: Path) -> list[dict[str, Any]]:
    """Rows of a case file. Raises DataError naming the first bad line."""
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise DataError(f"{path}: cannot read the cases ({error.strerror}); name a file with --cases") from None
    rows: dict[str, dict[str, Any]] = {}
    line_of: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            row = _read_case(line, f"{path}, line {number}")
            if (row_id := str(row["id"])) in rows:
                raise DataError(
                    f"{path}, line {number}: id {row_id!r} stands in line {line_of[row_id]} too; name each case once"
                )
            rows[row_id], line_of[row_id] = row, number
    if not rows:
        raise DataError(f"{path}: no cases in it; write one JSON row a line")
    return list(rows.values())


def _read_case(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = loads_strict(line.decode("utf-8"), max_chars=MAX_CHARS)
        if not isinstance(row, dict):
            raise ValueError("a case is a JSON object")
        Case.model_validate(row)
    except ValidationError as error:
        raise DataError(f"{where}: not a case: {explain_validation(error, Case)}") from None
    except ValueError as error:
        raise DataError(f"{where}: not a case ({error})") from None
    return row


def to_pair(row: dict[str, Any], marker: str = MARKER) -> tuple[Problem, Sample]:
    """A case as the problem and the sample that a run would have."""
    asked = [{"role": "user", "content": row.get("question", "")}]
    answer = row.get("answer", "")
    text = answer if isinstance(answer, str) else json.dumps(answer)
    parts = split_answer(normalise_reasoning(text)[1], marker)
    problem = Problem(
        id=content_id("case", row["id"]),
        messages=asked,
        gold=row["gold"],
        tools=row.get("tools"),
        cluster="cases",
        split="test",
    )
    sample = Sample.create(
        problem_id=problem.id,
        mode=row.get("mode", "rationale"),
        messages=row.get("messages") or [{"role": "assistant", "content": text}],
        rationale=parts.rationale or None,
        answer=row.get("final", parts.answer),
        finish_reason=row.get("finish_reason", "stop"),
        usage={},
        sampling={},
        engine="cases",
    )
    return problem, sample


def to_others(row: dict[str, Any], marker: str = MARKER) -> list[Sample]:
    """The other samples of a case's problem."""
    texts = row.get("others", [])
    samples = [to_pair({**row, "answer": text, "messages": None}, marker)[1] for text in texts]
    return [s.model_copy(update={"id": content_id(s.id, n)}) for n, s in enumerate(samples)]


async def _judge(
    spec: VerifierSpec, pairs: list[tuple[Problem, Sample, list[Sample]]], workers: int
) -> tuple[list[Verdict], float]:
    gate = asyncio.Semaphore(IN_FLIGHT)
    async with VerifierPool([spec], workers=workers) as pool:

        async def one(problem: Problem, sample: Sample, others: list[Sample]) -> Verdict:
            async with gate:
                together = await pool.check_group(problem, [sample, *others]) if others else {}
                return together[0][0] if together else (await pool.check(problem, sample))[0]

        start = time.perf_counter()
        verdicts = await asyncio.gather(*(one(*pair) for pair in pairs))
        return verdicts, time.perf_counter() - start


def _count(rows: list[dict[str, Any]], verdicts: list[Verdict]) -> dict[str, Any]:
    accepted = [v.status is Status.PASS for v in verdicts]
    expected = [row["expected"] == "pass" for row in rows]
    unverifiable = [v.status is Status.UNVERIFIABLE for v in verdicts]
    wrong = {
        row["id"]: f"{v.status} {v.reason}: {v.detail}" if v.detail else f"{v.status} {v.reason}"
        for row, v, a, e in zip(rows, verdicts, accepted, expected, strict=True)
        if a is not e
    }
    return {
        "n": len(rows),
        "true_accepted": _share([a for a, e in zip(accepted, expected, strict=True) if e]),
        "false_accepted": _share([a for a, e in zip(accepted, expected, strict=True) if not e]),
        "unverifiable": _share(unverifiable),
        "wrong": list(wrong),
        "why": wrong,
    }


def _share(flags: list[bool]) -> float | None:
    return round(sum(flags) / len(flags), 4) if flags else None
