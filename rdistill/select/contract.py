"""The pair contract, checked on the finished rows against the ledger: nothing the builder says is believed.

Same prompt, chosen verified pass (or the gold answer itself, in `direct`), rejected verified fail with its reason (or
concise: both pass, the chosen shorter by the stated ratio), texts differ, margin above 0, nothing truncated, every
supervised character in one span.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rdistill.config import Config
from rdistill.ledger import Ledger
from rdistill.prompts.student import student_messages
from rdistill.records import Message, Problem, Reason, Sample, Status, Verdict, canonical_json
from rdistill.select.completions import complete, is_whole, normalise


def pair_faults(
    rows: Iterable[Mapping[str, Any]], ledger: Ledger, config: Config, status_of: Mapping[str, Status]
) -> list[dict[str, str]]:
    """The rows that break the contract, as {"id", "fault"}; an empty list is what a run must show."""
    faults = []
    seen: set[str] = set()
    for row in rows:
        fault = next(_faults(row, ledger, config, status_of), None)
        fault = "id stands twice" if row["id"] in seen else fault
        seen.add(row["id"])
        if fault:
            faults.append({"id": row["id"], "fault": fault})
    return faults


def _faults(row: Mapping[str, Any], ledger: Ledger, config: Config, status_of: Mapping[str, Status]) -> Iterator[str]:
    problem = ledger.get(Problem, row["problem_id"])
    if problem is None or problem.split not in ("train", "pair"):
        yield "problem is not one to learn from"
        return
    if row["prompt"] != canonical_json(student_messages(problem, row["mode"], config)):
        yield "prompt is not the problem's"
    prompt = json.loads(row["prompt"])
    is_right = status_of.get(row["chosen_id"]) is Status.PASS
    for side in ("chosen", "rejected"):
        sample = ledger.get(Sample, row[f"{side}_id"])
        if sample is None or sample.problem_id != problem.id:
            yield f"{side} answers another problem"
            return
        if not is_whole(sample):
            yield f"{side} is truncated"
        written = complete(sample, row["mode"], config.answer.marker)
        if written is None or canonical_json(written.messages) != row[side]:
            yield f"{side} is not what its sample says"
        if side == "chosen" and not (is_right or _is_gold(sample, problem, row["mode"], config)):
            yield "chosen is not verified right"
        if fault := span_fault(prompt + json.loads(row[side]), json.loads(row[f"{side}_spans"]), len(prompt)):
            yield f"{side}: {fault}"
    verdicts = ledger.rows(Verdict, sample_id=row["rejected_id"])
    reasons = {v.reason.value for v in verdicts if v.status is Status.FAIL} - {Reason.OK, Reason.TRUNCATED}
    yield from _preference_faults(row, config, status_of, reasons)


def _is_gold(sample: Sample, problem: Problem, mode: str, config: Config) -> bool:
    """Whether the sample is the gold answer alone, where that may be learned."""
    return config.select.gold and mode == "direct" and sample.role == "gold" and sample.answer == problem.gold


def _preference_faults(
    row: Mapping[str, Any], config: Config, status_of: Mapping[str, Status], reasons: set[str]
) -> Iterator[str]:
    """Why the rejected side is not the worse one. `reasons`: why the ledger's verdicts failed it."""
    chosen, rejected = _text(row["chosen"]), _text(row["rejected"])
    if chosen == rejected:
        yield "texts are equal"
    if not row["margin"] > 0:
        yield f"margin {row['margin']} is not above 0"
    if row["source"] == "concise":
        if status_of.get(row["rejected_id"]) is not Status.PASS:
            yield "the longer side of a concise pair is not verified right"
        if len(chosen) > config.pair.concise_ratio * len(rejected):
            yield "chosen is not shorter by pair.concise_ratio"
        return
    if status_of.get(row["rejected_id"]) is not Status.FAIL:
        yield "rejected is not verified wrong"
    if row["reason"] not in reasons:
        yield f"reason {row['reason']!r} is not what its verdicts say"


def _text(messages: str) -> str:
    return normalise("\n".join(m["content"] for m in json.loads(messages)))


def span_fault(messages: list[Message], spans: list[dict[str, Any]], num_prompt: int) -> str | None:
    """What is wrong with the spans of messages[num_prompt:]: each message must be covered exactly, in order."""
    reached = [0] * len(messages)
    for span in spans:
        number = span["message"]
        if not num_prompt <= number < len(messages):
            return f"a span in message {number}, outside the completion"
        if (messages[number]["role"] != "assistant") != (span["role"] == "tool_result"):
            return f"a {span['role']} span in a {messages[number]['role']} message"
        if span["start"] != reached[number] or span["end"] <= span["start"]:
            return f"a gap or overlap at character {span['start']} of message {number}"
        reached[number] = span["end"]
    for number in range(num_prompt, len(messages)):
        if reached[number] != len(messages[number]["content"]):
            return f"message {number} is covered to character {reached[number]} only"
    return None
