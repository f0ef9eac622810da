"""The text protocol of tool calls.

    <tool_call>{"name": "calculator", "arguments": {"expression": "84 / 2"}}</tool_call>

Model text is hostile: one linear scan, strict JSON, and a reason for every refusal.
"""

import json
from typing import Any, NamedTuple

from rdistill.strict_json import loads_strict

OPEN, CLOSE = "<tool_call>", "</tool_call>"
KEYS = {"name", "arguments", "id", "type"}
"""Of a call; only its name has to be there, the last two say nothing."""
MAX_CALLS = 32


class ToolCall(NamedTuple):
    """One call; text[start:end] holds it with its tags."""

    name: str
    arguments: dict[str, Any]
    start: int
    end: int


class ToolCallError(ValueError):
    """The text holds a tool call that cannot be read; the message says why."""


def parse_tool_calls(text: str) -> list[ToolCall]:
    """Every tool call of a text, in order; empty where there is none. Raises ToolCallError if any is malformed."""
    calls: list[ToolCall] = []
    position = 0
    while (start := text.find(OPEN, position)) >= 0:
        _refuse_stray_close(text, position, start)
        close = text.find(CLOSE, start)
        if close < 0:
            raise ToolCallError(f"{OPEN} is never closed by {CLOSE}")
        if len(calls) == MAX_CALLS:
            raise ToolCallError(f"more than {MAX_CALLS} tool calls")
        position = close + len(CLOSE)
        name, arguments = _read_call(text[start + len(OPEN) : close])
        calls.append(ToolCall(name, arguments, start, position))
    _refuse_stray_close(text, position, len(text))
    return calls


def format_tool_call(name: str, arguments: dict[str, Any]) -> str:
    """The inverse of parse_tool_calls; a closing tag inside a string is escaped."""
    call = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False, allow_nan=False)
    return OPEN + call.replace("</", "<\\/") + CLOSE


def with_tags(text: str) -> str:
    """A turn that is nothing but a call without its tags gets them; any other turn stays as it is.

    Qwen2.5-Coder-0.5B never writes the token <tool_call>, however often its prompt does.
    """
    if OPEN in text or CLOSE in text or not text.lstrip().startswith("{") or '"arguments"' not in text:
        return text
    try:
        _read_call(text)
    except ToolCallError:
        return text
    return OPEN + text.strip() + CLOSE


def result_turn(content: str) -> dict[str, Any]:
    """A tool's result as every chat template takes it: a user turn in <tool_response> tags."""
    return {"role": "user", "content": f"<tool_response>\n{content}\n</tool_response>"}


def _read_call(text: str) -> tuple[str, dict[str, Any]]:
    try:
        call = loads_strict(text)
    except ValueError as error:
        raise ToolCallError(f"tool call: {error}") from None
    if not isinstance(call, dict) or "name" not in call or not call.keys() <= KEYS:
        got = sorted(call)[:5] if isinstance(call, dict) else type(call).__name__
        raise ToolCallError(f'tool call: expected an object with "name" and "arguments", got {got}')
    name, arguments = call["name"], call.get("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ToolCallError('tool call: "name" must be a string and "arguments" an object')
    return name, arguments


def _refuse_stray_close(text: str, start: int, end: int) -> None:
    if text.find(CLOSE, start, end) >= 0:
        raise ToolCallError(f"{CLOSE} without {OPEN}")
