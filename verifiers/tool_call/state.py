"""Has a trace reached the expected state? Its state is the result of its last call, read as JSON.

That is all a verifier sees of what the tools did: give the trace a tool whose result tells the state, or let the last
call that changes it return it.
"""

import itertools
from typing import Any, NamedTuple

from rdistill.verifiers.tool_call.calls import calls_in
from rdistill.verifiers.tool_call.match import equal
from rdistill.verifiers.tool_call.results import error_in

from rdistill.records import Message, Reason, Status
from rdistill.strict_json import loads_strict


class Finding(NamedTuple):
    status: Status
    reason: Reason
    detail: str


def judge_state(expected: Any, messages: list[Message], names: set[str]) -> Finding:
    """Whether the last result is the expected state; a text may be so without quotes."""
    text = last_result(messages, names)
    if text is None:
        return Finding(Status.UNVERIFIABLE, Reason.NO_ANSWER, "final state: no tool was run, so nothing tells it")
    try:
        found = loads_strict(text)
    except ValueError as error:
        if isinstance(expected, str) and text.strip() == expected.strip():
            return Finding(Status.PASS, Reason.OK, "final state reached")
        if line := error_in(text):
            return Finding(Status.FAIL, Reason.BAD_TOOL_CALL, f"the last call ended with {line[:200]!r}")
        return Finding(
            Status.UNVERIFIABLE, Reason.UNPARSEABLE, f"final state: the last result cannot be read ({error})"
        )
    if equal(trimmed(expected), trimmed(found)) or (isinstance(expected, str) and text.strip() == expected.strip()):
        return Finding(Status.PASS, Reason.OK, "final state reached")
    return Finding(Status.FAIL, Reason.WRONG_ANSWER, f"final state is {str(found)[:80]}, expected {str(expected)[:80]}")


def last_result(messages: list[Message], names: set[str]) -> str | None:
    """The text of the last call's result; None where no tool was run.

    One message may hold the results of several calls of a turn, each in a line of its own: its last line counts.
    """
    last = next((at for at in range(len(messages) - 1, -1, -1) if messages[at]["role"] == "tool"), None)
    if last is None:
        return None
    results = list(itertools.takewhile(lambda m: m["role"] == "tool", messages[last::-1]))
    text = str(messages[last].get("content") or "")
    if text.lstrip().startswith("<tool_response>"):
        text = text.strip().removeprefix("<tool_response>").removesuffix("</tool_response>").strip("\n")
    turn = messages[last - len(results)] if len(results) <= last else None
    num_calls = len(calls_in(turn, names)) if turn is not None and len(results) == 1 else 1
    if num_calls <= 1:
        return text
    lines = text.split("\n")
    return lines[-1] if len(lines) == num_calls else ""


def trimmed(value: Any) -> Any:
    """A JSON value whose texts have no blanks around them; keys stay as they are."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list):
        return [trimmed(item) for item in value]
    return {key: trimmed(item) for key, item in value.items()} if isinstance(value, dict) else value
