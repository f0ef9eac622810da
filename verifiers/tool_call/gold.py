"""The expected calls of a gold, however it is written: {"calls": [...]}, a plain list of calls, or one call.

A list of none says that none is needed; calls may be written as in OpenAI's `tool_calls`.
"""

from typing import Any

from rdistill.verifiers.tool_call.match import GoldError

from rdistill.strict_json import loads_strict

WRITE = 'write {"calls": [{"name": ..., "arguments": {...}}]}'


def expectation(gold: Any, *, is_trace: bool) -> dict[str, Any] | None:
    """The gold as {"calls": ...}; None for a trace whose gold is something else, such as the answer of its task.

    Raises: GoldError for a gold that tells of no calls where a reply is judged by nothing else.
    """
    if isinstance(gold, dict) and "calls" in gold:
        return gold
    if gold == [] or is_calls(gold):
        return {"calls": [_plain(call) for call in (gold if isinstance(gold, list) else [gold])]}
    if isinstance(gold, str) and _is_text_of_calls(gold):
        raise GoldError("gold is the JSON text of calls; set gold_format: json in its source")
    if is_trace:
        return None
    if gold is None:
        raise GoldError(f"no gold, and the reply is no tool trace; {WRITE}, or set teacher.mode: tool_trace")
    raise GoldError(f"gold is {type(gold).__name__} without calls, and the reply is no tool trace; {WRITE}")


def is_calls(value: Any) -> bool:
    """Whether a value can only be meant as calls: one, or a list with one."""
    if isinstance(value, list):
        return any(isinstance(item, dict) and is_calls(item) for item in value)
    if not isinstance(value, dict):
        return False
    call = _plain(value)
    return isinstance(call.get("name"), str) and any(
        isinstance(call.get(key), dict) for key in ("arguments", "accepted")
    )


def _plain(call: Any) -> Any:
    """An OpenAI `tool_calls` entry as {"name", "arguments"}; anything else as it is."""
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(text := function.get("arguments"), str):
        return function if isinstance(function, dict) else call
    try:
        return {**function, "arguments": loads_strict(text.strip() or "{}")}
    except ValueError:
        return function


def _is_text_of_calls(text: str) -> bool:
    if text.lstrip()[:1] not in ("[", "{"):
        return False
    try:
        value = loads_strict(text)
    except ValueError:
        return False
    return is_calls(value) or (isinstance(value, dict) and isinstance(value.get("calls"), list))
