"""A raw row becomes a prompt with its expected answer, by the source's field mapping and gold format."""

import difflib
import json
import re
from itertools import accumulate
from typing import Any, NamedTuple

from rdistill.config import Source
from rdistill.prompts.files import REPEATED, BadRow
from rdistill.records import Message
from rdistill.tools.calls import CLOSE, OPEN

ROLES = ("system", "user", "assistant", "tool")
MESSAGE_KEYS = ("role", "content", "name", "tool_calls", "tool_call_id")
ABSENT = object()


class Draft(NamedTuple):
    """A problem before it has a cluster and a split. `hint`: what may help the teacher, such as the gold's equation."""

    messages: list[Message]
    gold: Any
    tools: list[dict[str, Any]] | None
    domain: str
    hint: str | None = None


def read_draft(values: dict[str, Any], source: Source) -> Draft:
    """Apply a source's mapping to one row. Raises: BadRow with the reason."""
    fields = source.fields
    messages = read_messages(take(values, fields.prompt))
    gold = None if fields.gold is None else read_gold(take(values, fields.gold), source.gold_format)
    tools = None if fields.tools is None else read_tools(take(values, fields.tools))
    if tools and source.show_tools:
        messages = with_tools(messages, tools)
    hint = read_hint(values, source)
    domain = source.domain if fields.domain is None else str(take(values, fields.domain)).strip()
    if not domain:
        raise BadRow(f"empty {fields.domain!r}")
    try:
        json.dumps([messages, gold, tools, domain, hint], allow_nan=False, ensure_ascii=False).encode("utf-8")
    except (TypeError, ValueError):  # bytes, dates, NaN, lone surrogates
        raise BadRow("a value that JSON in UTF-8 cannot hold") from None
    return Draft(messages, gold, tools, domain, hint)


def take(values: dict[str, Any], column: str) -> Any:
    """The value of a column, or of a dotted path into nested rows. Raises: BadRow if it is not there."""
    found: Any = values.get(column, ABSENT)
    if found is ABSENT and "." in column:
        found = values
        for key in column.split("."):
            found = _step(found, key)
    if found is ABSENT:
        raise BadRow(f"no column {column!r}")
    if found is REPEATED:
        raise BadRow(f"column {column!r} stands more than once in the header")
    if found is None:
        raise BadRow(f"null in column {column!r}")
    return found


def _step(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return value.get(key, ABSENT)
    if isinstance(value, list) and key.isdecimal() and int(key) < len(value):
        return value[int(key)]
    return ABSENT


def column_names(values: dict[str, Any], depth: int = 3) -> list[str]:
    """The columns of a row, and with dots those of the rows nested in it."""
    nested: list[str] = []
    for key, value in values.items():
        inner = {"0": value[0]} if isinstance(value, list) and value and isinstance(value[0], dict) else value
        if depth > 1 and isinstance(inner, dict):
            nested += [f"{key}.{name}" for name in column_names(inner, depth - 1)]
    return [*map(str, values), *nested]


def nearest_first(columns: list[str], wanted: str) -> list[str]:
    """Columns, those most like `wanted` first."""
    return sorted(columns, key=lambda c: -difflib.SequenceMatcher(None, c.lower(), wanted.lower()).ratio())


def read_messages(value: Any) -> list[Message]:
    """Chat messages from text or from a list of messages; the last one is not the assistant's."""
    if isinstance(value, str):
        if not value.strip():
            raise BadRow("empty prompt")
        return [{"role": "user", "content": value.strip()}]
    if not isinstance(value, list) or not all(isinstance(m, dict) for m in value):
        raise BadRow("prompt is neither text nor a list of messages")
    messages = [{k: m[k] for k in MESSAGE_KEYS if m.get(k) is not None} for m in value]
    for message in messages:
        if message.get("role") not in ROLES or not isinstance(message.get("content"), str):
            raise BadRow(f"a message without text content or with a role other than {', '.join(ROLES)}")
    if not any(m["role"] == "user" and m["content"].strip() for m in messages):
        raise BadRow("no user message")
    if messages[-1]["role"] in ("assistant", "system"):
        raise BadRow(f"prompt ends with the {messages[-1]['role']}'s message")
    return messages


def read_gold(value: Any, gold_format: str) -> Any:
    """The expected answer: text, except for `json`, which keeps the parsed value."""
    if gold_format == "json":
        return _parse_json(value) if isinstance(value, str) else value
    text = _as_text(value)
    if gold_format == "hashes":
        _, marker, text = text.rpartition("####")
        if not marker:
            raise BadRow("gold has no ####")
        text = text.strip().replace(",", "")
    elif gold_format == "equation":
        text = _evaluate(text)
    if not text:
        raise BadRow("empty gold")
    return text


def read_hint(values: dict[str, Any], source: Source) -> str | None:
    """What the source's hint column says, else the equation of gold_format `equation` (84.0 written 84)."""
    if source.fields.hint:
        return _as_text(take(values, source.fields.hint))
    if source.gold_format != "equation" or not source.fields.gold:
        return None
    equation = re.sub(r"(\d)\.0+(?!\d)", r"\1", _as_text(take(values, source.fields.gold)))
    return equation[1:-1].strip() if _closes_at_end(equation) else equation


def _closes_at_end(text: str) -> bool:
    """Whether the bracket that the text begins with is closed by its last character."""
    depths = accumulate((c == "(") - (c == ")") for c in text)
    return text.startswith("(") and list(depths).index(0) == len(text) - 1


def _as_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise BadRow(f"gold is {type(value).__name__}, not text or a number (gold_format: json keeps any value)")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise BadRow("gold is not JSON") from None


def _evaluate(text: str) -> str:
    from rdistill.tools import evaluate_expression, format_number

    try:
        return format_number(evaluate_expression(text))
    except ValueError:
        raise BadRow("gold is not arithmetic that can be evaluated") from None


def read_tools(value: Any) -> list[dict[str, Any]]:
    """Tool schemas from a list of objects, or from its JSON text."""
    tools = _parse_json(value) if isinstance(value, str) else value
    if not isinstance(tools, list) or not all(isinstance(t, dict) for t in tools):
        raise BadRow("tools are not a list of objects")
    return tools


def with_tools(messages: list[Message], tools: list[dict[str, Any]]) -> list[Message]:
    """A conversation that tells of the tools that its calls are judged by, before its own system text."""
    lines = [
        f'To call a tool, write {OPEN}{{"name": NAME, "arguments": {{...}}}}{CLOSE}, one after the other for many.'
    ]
    lines += ["Tools, as JSON:", *(json.dumps(tool, ensure_ascii=False) for tool in tools)]
    own = [m["content"] for m in messages if m["role"] == "system"]
    system: Message = {"role": "system", "content": "\n\n".join(["\n".join(lines), *own])}
    return [system, *(m for m in messages if m["role"] != "system")]
