"""The tool calls of a reply, however they are written."""

from typing import Any, NamedTuple

from rdistill.answers import normalise_reasoning
from rdistill.records import Message, Sample
from rdistill.strict_json import loads_strict
from rdistill.tools import ToolCallError, parse_tool_calls


class Call(NamedTuple):
    name: str
    arguments: dict[str, Any]


class CallError(ValueError):
    """The reply holds a call that cannot be read; the message says why."""


def calls_of(sample: Sample) -> list[Call]:
    """Every call of a sample's assistant turns, in order. Raises CallError."""
    return [call for message in sample.messages for call in calls_in(message)]


def calls_in(message: Message) -> list[Call]:
    """The calls of an assistant turn after its thinking: `tool_calls` fields, <tool_call> tags, or a JSON list."""
    if message["role"] != "assistant":
        return []
    _, text, finished = normalise_reasoning(message.get("content") or "")
    if not finished:
        raise CallError("thinking without an end")
    return [_from_field(c) for c in message.get("tool_calls") or ()] + _from_text(text)


def _from_text(text: str) -> list[Call]:
    try:
        if found := parse_tool_calls(text):
            return [Call(c.name, c.arguments) for c in found]
    except ToolCallError as error:
        raise CallError(str(error)) from None
    body = _unfence(text.strip())
    if body[:1] not in ("[", "{") or ('"name"' not in body and body not in ("[]", "{}")):
        return []
    try:
        value = loads_strict(body)
    except ValueError as error:
        raise CallError(f"calls: {error}") from None
    return [_from_object(c) for c in (value if isinstance(value, list) else [value] if value else [])]


def _unfence(text: str) -> str:
    """Without a code fence around it."""
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text[text.index("\n") : -3].strip()
    return text


def _from_field(call: Any) -> Call:
    """An OpenAI `tool_calls` entry, whose arguments are JSON text."""
    function = call.get("function", call) if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise CallError("tool_calls: expected objects with a function")
    arguments = function.get("arguments", {})
    try:
        arguments = loads_strict(arguments) if isinstance(arguments, str) else arguments
    except ValueError as error:
        raise CallError(f"arguments: {error}") from None
    return _from_object({"name": function.get("name"), "arguments": arguments})


def _from_object(value: Any) -> Call:
    if not isinstance(value, dict) or not set(value) <= {"name", "arguments", "id", "type"}:
        raise CallError('call: expected an object with "name" and "arguments"')
    name, arguments = value.get("name"), value.get("arguments", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise CallError('call: "name" must be a string and "arguments" an object')
    return Call(name, arguments)
