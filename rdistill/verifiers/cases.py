"""A verifier's error rates on rows whose right verdict is known.

    {"id": ..., "gold": ..., "answer": ..., "expected": "pass" | "fail"}

`answer` is the whole reply; without its thinking it is split at the marker, as a teacher's reply is. A row may also
have `finish_reason`, `mode`, `tools` and `messages` (the turns of a tool trace, in place of `answer`); and, for a
verifier that judges a problem's samples together, `others`: the replies of the other samples.

A file of another's making may hold anything: a row that cannot be read counts as `unverifiable`, with its reason, and
the others are judged. A row without a usable id, or with that of a row before it, is called by its line.
"""

import asyncio
import json
import math
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, StrictStr, ValidationError, model_validator

from rdistill.answers import normalise_reasoning, split_answer
from rdistill.config import VerifierSpec
from rdistill.errors import ConfigError, DataError, RdistillError, VerifierError
from rdistill.explain import explain_validation
from rdistill.records import Problem, Reason, Sample, Status, TeacherMode, Verdict, content_id
from rdistill.strict_json import loads_strict
from rdistill.verifiers import registry
from rdistill.verifiers.lane import Job
from rdistill.verifiers.pool import VerifierPool
from rdistill.verifiers.registry import list_verifiers

__all__ = ["list_verifiers", "read_cases", "run_all_cases", "run_cases"]

MARKER = "####"
IN_FLIGHT = 32
MAX_CHARS, MAX_DEPTH, MAX_DIGITS = 1 << 24, 100, 4300
"""Of a row; Python itself reads no whole number of more digits."""
MAX_ID_CHARS = 200
WHITE = (" ", "\t", "\n", "\r")


class Turn(BaseModel):
    """One message of a case."""

    model_config = ConfigDict(extra="allow")
    role: StrictStr
    content: StrictStr | None = None


class Case(BaseModel):
    """What a row must look like; keys beside these are left alone."""

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
        if not {"answer", "messages"} & self.model_fields_set:
            raise ValueError("it has neither an answer nor messages; add one")
        return self


Pair = tuple[Problem, Sample, list[Sample]]
"""A case's problem, its sample, and the other samples of the problem."""


class Listed(NamedTuple):
    """A row of a case file, or why it cannot be read. `expected` is None where the row does not say."""

    id: str | int | float
    row: dict[str, Any]
    expected: str | None
    fault: str | None


def run_cases(
    name: str,
    cases_path: str | Path | None = None,
    options: dict[str, Any] | None = None,
    *,
    workers: int = 2,
    timeout_s: float = 5,
) -> dict[str, Any]:
    """Judge every case, each within `timeout_s`, and count.

    Returns {"n", "true_accepted", "false_accepted", "unverifiable", "wrong": [ids], "why": {id: verdict}, "unreadable":
    {id: reason}, "per_s"}: `true_accepted` is the share of the rows to pass that passed, `false_accepted` the share of
    the rows to fail that passed, `unverifiable` the share of all rows (null where there are none); a row is wrong if it
    passed and should not have, or the reverse, and `why` has the verdict on each wrong one. A row that cannot be read
    has not passed, and is among the rows to pass or to fail only where it says so.
    Raises: ConfigError for a verifier that is unknown or cannot be built, DataError for an unreadable case file.
    """
    registry.require(name)
    listed = list_cases(Path(cases_path) if cases_path else registry.folder(name) / "cases.jsonl")
    marker = (options or {}).get("marker", MARKER)
    pairs = [_refused(case.fault) if case.fault else _to_judge(case.row, marker) for case in listed]
    spec = VerifierSpec(name=name, options=options or {}, timeout_s=timeout_s)
    try:
        verdicts, seconds = asyncio.run(_judge(spec, pairs, workers))
    except VerifierError as error:
        raise ConfigError(str(error)) from None
    unreadable = {str(c.id): pair.detail for c, pair in zip(listed, pairs, strict=True) if isinstance(pair, Verdict)}
    return {**_count(listed, verdicts), "unreadable": unreadable, "per_s": round(len(listed) / seconds, 1)}


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
    """Rows of a case file, with the ids that they are called by. Raises DataError for one that cannot be read."""
    listed = list_cases(path)
    for case in listed:
        if case.fault:
            raise DataError(f"{path}, {case.id}: not a case ({case.fault})")
    return [case.row | {"id": case.id} for case in listed]


def list_cases(path: Path) -> list[Listed]:
    """Rows of a file of JSON lines, or of one JSON array. Raises DataError for a file that is neither, or is empty."""
    try:
        data = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise DataError(f"{path}: cannot read the cases ({error.strerror}); name a file with --cases") from None
    if not data.strip():
        raise DataError(f"{path}: no cases in it; write one JSON row a line")
    items = _array_items(data)
    places = {f"row {n}": item for n, item in enumerate(items, 1)} if items else _lines(data)
    if not any(text.startswith(b"{") and text.endswith(b"}") for text in places.values()):
        raise DataError(f"{path}: no line of it is a JSON object; write one JSON row a line")
    listed: dict[str, Listed] = {}
    for place, text in places.items():
        case = _list_case(text, place)
        while str(case.id) in listed:
            case = case._replace(id=f"{case.id}, {place}")
        listed[str(case.id)] = case
    return list(listed.values())


def _lines(data: bytes) -> dict[str, bytes]:
    """What stands in the lines that are not blank, by their place."""
    return {f"line {n}": text for n, line in enumerate(data.split(b"\n"), 1) if (text := line.strip())}


def _array_items(data: bytes) -> list[bytes] | None:
    """The texts of a JSON array's items; None where a file is no such array."""
    text = data.decode("utf-8", "surrogateescape").strip()
    if not text.startswith("["):
        return None
    decoder, items, start = json.JSONDecoder(parse_int=str), [], _after_spaces(text, 1)
    try:
        while True:
            _, end = decoder.raw_decode(text, start)
            items.append(text[start:end].encode("utf-8", "surrogateescape"))
            end = _after_spaces(text, end)
            if text[end] != ",":
                return items if text[end:] == "]" else None
            start = _after_spaces(text, end + 1)
    except (ValueError, IndexError, RecursionError):
        return None


def _after_spaces(text: str, place: int) -> int:
    while text[place : place + 1] in WHITE:
        place += 1
    return place


def _list_case(data: bytes, place: str) -> Listed:
    try:
        row = loads_strict(data.decode("utf-8"), max_chars=MAX_CHARS, max_depth=MAX_DEPTH, max_digits=MAX_DIGITS)
        if not isinstance(row, dict):
            raise ValueError("a case is a JSON object")
        Case.model_validate(row)
    except ValidationError as error:
        return _unreadable(data, place, explain_validation(error, Case))
    except ValueError as error:
        return _unreadable(data, place, str(error))
    return Listed(_id_of(row, place), row, row["expected"], None)


def _unreadable(data: bytes, place: str, fault: str) -> Listed:
    """A row that is left out, with what can be told of it: its id, and what was expected."""
    try:
        text = data.decode("utf-8", "replace")
        row = json.loads(text, parse_int=lambda digits: int(digits[:MAX_DIGITS]), parse_constant=str)
    except (ValueError, RecursionError):
        row = None
    row = row if isinstance(row, dict) else {}
    expected = row.get("expected")
    return Listed(_id_of(row, place), {}, expected if expected in ("pass", "fail") else None, fault)


def _id_of(row: dict[str, Any], place: str) -> str | int | float:
    """What a row calls itself; its place where that is no text or number, or is no short one."""
    found = row.get("id")
    if type(found) is str:
        found = found.encode("utf-8", "replace").decode()
    elif type(found) is not int and not (type(found) is float and math.isfinite(found)):
        return place
    return found if len(str(found)) <= MAX_ID_CHARS else place


def to_pair(row: dict[str, Any], marker: str = MARKER) -> tuple[Problem, Sample]:
    """A case as the problem and the sample that a run would have."""
    asked = [{"role": "user", "content": row.get("question", "")}]
    answer = row.get("answer", "")
    text = answer if isinstance(answer, str) else json.dumps(answer)
    parts = split_answer(normalise_reasoning(text)[1], marker)
    problem = Problem(
        id=content_id("case", row.get("id")),
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


def _refused(fault: str) -> Verdict:
    """The verdict on a row that reaches no verifier."""
    return Verdict(
        sample_id="", verifier="", version="", status=Status.UNVERIFIABLE, reason=Reason.UNPARSEABLE, detail=fault
    )


def _to_judge(row: dict[str, Any], marker: str) -> Pair | Verdict:
    """A case's problem, sample and other samples, or the verdict where they can be handed to no process."""
    try:
        problem, sample = to_pair(row, marker)
        others = to_others(row, marker)
        Job.of("check", problem, [sample, *others])
    except (ValueError, RecursionError) as error:
        return _refused(f"it cannot be handed on: {str(error)[:200]}")
    return problem, sample, others


async def _judge(spec: VerifierSpec, pairs: list[Pair | Verdict], workers: int) -> tuple[list[Verdict], float]:
    """The verdict on each pair, where there is none yet, and the seconds that it took."""
    gate = asyncio.Semaphore(IN_FLIGHT)
    async with VerifierPool([spec], workers=workers) as pool:

        async def one(pair: Pair | Verdict) -> Verdict:
            if isinstance(pair, Verdict):
                return pair
            problem, sample, others = pair
            async with gate:
                together = await pool.check_group(problem, [sample, *others]) if others else {}
                return together[0][0] if together else (await pool.check(problem, sample))[0]

        start = time.perf_counter()
        verdicts = await asyncio.gather(*(one(pair) for pair in pairs))
        return verdicts, time.perf_counter() - start


def _count(listed: list[Listed], verdicts: list[Verdict]) -> dict[str, Any]:
    judged = [(case, v, v.status is Status.PASS) for case, v in zip(listed, verdicts, strict=True)]
    wrong = {
        case.id: f"{v.status} {v.reason}: {v.detail}" if v.detail else f"{v.status} {v.reason}"
        for case, v, is_accepted in judged
        if case.expected and is_accepted is not (case.expected == "pass")
    }
    return {
        "n": len(listed),
        "true_accepted": _share([is_accepted for case, _, is_accepted in judged if case.expected == "pass"]),
        "false_accepted": _share([is_accepted for case, _, is_accepted in judged if case.expected == "fail"]),
        "unverifiable": _share([v.status is Status.UNVERIFIABLE for v in verdicts]),
        "wrong": list(wrong),
        "why": wrong,
    }


def _share(flags: list[bool]) -> float | None:
    return round(sum(flags) / len(flags), 4) if flags else None
