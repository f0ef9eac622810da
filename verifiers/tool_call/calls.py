"""The tool calls of a reply in the forms that run: `tool_calls` fields, <tool_call> tags, JSON and nothing else."""

import re
from collections.abc import Container
from typing import Any, NamedTuple

from rdistill.answers import normalise_reasoning
from rdistill.records import Message, Sample
from rdistill.strict_json import loads_strict
from rdistill.tools import ToolCallError, parse_tool_calls

QUOTED = re.compile(r'"([^"\n]{1,200})"')


class Call(NamedTuple):
    name: str
    arguments: dict[str, Any]


class CallError(ValueError):
    """The reply holds a call that cannot be read; the message says why."""


def calls_of(sample: Sample, names: Container[str] = ()) -> list[Call]:
    """Every call of a sample's assistant turns, in order. Raises CallError. `names`: of the tools that are known."""
    return [call for message in sample.messages for call in calls_in(message, names)]


def calls_in(message: Message, names: Container[str] = ()) -> list[Call]:
    """The calls of an assistant turn after its thinking: `tool_calls` fields, <tool_call> tags, or a JSON list."""
    if message["role"] != "assistant":
        return []
    return [_from_field(c) for c in message.get("tool_calls") or ()] + _from_text(shown(message), names)


def shown(message: Message) -> str:
    """The text of a turn after its thinking. Raises CallError."""
    _, text, finished = normalise_reasoning(message.get("content") or "")
    if not finished:
        raise CallError("thinking without an end")
    return text


def is_empty(text: str) -> bool:
    """Whether a reply says nothing, and not `[]`, that there is no call."""
    return not any(map(str.isalnum, text)) and "".join(text.split()) not in ("[]", "{}")


def _from_text(text: str, names: Container[str]) -> list[Call]:
    try:
        if found := parse_tool_calls(text):
            return [Call(c.name, c.arguments) for c in found]
    except ToolCallError as error:
        raise CallError(str(error)) from None
    body = unfence(text.strip())
    if body[:1] not in ("[", "{") or '"name"' not in body:
        return []
    try:
        value = loads_strict(body)
    except ValueError as error:
        if '"arguments"' not in body and not any(text in names for text in QUOTED.findall(body)):
            return []
        raise CallError(f"calls: {error}") from None
    items = value if isinstance(value, list) else [value]
    return [_from_object(item) for item in items] if any(_is_call(item, names) for item in items) else []


def _is_call(value: Any, names: Container[str]) -> bool:
    """Whether a JSON value is meant as a call, and is no data with a name: {"name": "Alice", "age": 3}."""
    if not isinstance(value, dict):
        return isinstance(value, list) and any(_is_call(item, names) for item in value)
    name = value.get("name")
    return "arguments" in value or isinstance(value.get("function"), dict) or (isinstance(name, str) and name in names)


def unfence(text: str) -> str:
    """Without a code fence around it."""
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text[text.index("\n") : -3].strip()
    return text


def _from_field(call: Any) -> Call:
    """An OpenAI `tool_calls` entry, whose arguments are JSON text."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise CallError("tool_calls: expected objects with a function")
    return _from_object({"name": function.get("name"), "arguments": function.get("arguments")})


def _from_object(value: Any) -> Call:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        return _from_field(value)
    if not isinstance(value, dict) or not set(value) <= {"name", "arguments", "id", "type"}:
        raise CallError('call: expected an object with "name" and "arguments"')
    name, arguments = value.get("name"), read_arguments(value.get("arguments"))
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise CallError('call: "name" must be a string and "arguments" an object')
    return Call(name, arguments)


def read_arguments(arguments: Any) -> Any:
    """Arguments that may be JSON text, null or none for none. Raises CallError for text that is no JSON."""
    try:
        value = loads_strict(arguments.strip() or "{}") if isinstance(arguments, str) else arguments
    except ValueError as error:
        raise CallError(f"arguments: {error}") from None
    return {} if value is None else value
