"""Calls in forms that models write and few programs run, read where form and tool leave one reading.

    {"name": "weather", "parameters": {"city": "Paris"}}          Llama 3
    {"tool_calls": [{"name": "weather", "arguments": {...}}]}     OpenAI's field as text
    [{"weather": {"city": "Paris"}}]                              Berkeley function calling leaderboard
    [weather(city='Paris', days=3)]                               Python, literals only: parsed, never run
    I will look it up. [{"name": "weather", "arguments": {...}}]  a sentence before it

The tool has to be a known one. A code block beside other text is no call: it may explain one.
"""

import ast
import json
import re
import warnings
from collections.abc import Container
from typing import Any

from rdistill.verifiers.tool_call.attempts import GIVEN, attempted
from rdistill.verifiers.tool_call.calls import Call, CallError, read_arguments, unfence

from rdistill.strict_json import loads_strict
from rdistill.tools.calls import CLOSE, OPEN

MAX_CHARS, MAX_PROSE_CHARS = 1 << 14, 300
EXPLAINS = re.compile(
    r"\b(?:not|never|no|cannot|instead|rather|how|example|instance|e\.?g|such as|like|would|could|should|might|may"
    r"|you can|if|unless|format|schema|syntax|imagine|suppose)\b|n['’]t\b|[`<>(]",
    re.IGNORECASE,
)
"""What stands before JSON that need not be meant as a call."""


class UnclearCall(ValueError):
    """What looks like a call, and cannot be read in one way; the message says why."""


def other_calls(text: str, names: set[str]) -> list[Call]:
    """The calls of a reply that has none in the usual forms; empty where there are none that can be read."""
    if OPEN in text:
        bodies = tagged(text)
        found = [_from_json(body, names) for body in bodies]
        return [call for calls in found if calls for call in calls] if all(found) else []
    body = unfence(text.strip())
    return _from_json(body, names) or _from_python(body, names) or _after_a_sentence(text, names) or []


def refuse_attempt(text: str, names: set[str]) -> None:
    """Raise UnclearCall for a reply with what looks like a call; JSON that cannot be read is none, nothing runs it."""
    known = "|".join(re.escape(name) for name in sorted(names) if name)
    opened = re.compile(rf"^\W{{0,20}}(?:{known})\(.*" if known else r"(?!)", re.MULTILINE)
    bodies = tagged(text) if OPEN in text else [unfence(text.strip())]
    for body in bodies:
        if _is_broken_json(body):
            continue
        if attempt := attempted(body, names) or ((found := opened.search(body)) and found[0].strip()[:60]):
            raise UnclearCall(f"what looks like a call is in a form that is not read: {attempt!r}")


def tagged(text: str) -> list[str]:
    """What stands in <tool_call> tags; nothing if one is left open, or closed without being open."""
    before, *parts = text.split(OPEN)
    bodies = [part.split(CLOSE) for part in parts]
    if CLOSE in before or any(len(body) != 2 for body in bodies):
        return []
    return [body.strip() for body, _ in bodies]


def _is_broken_json(body: str) -> bool:
    if body[:1] not in ("[", "{") or '"name"' not in body:
        return False
    try:
        loads_strict(body)
    except ValueError:
        return True
    return False


def _from_json(body: str, names: Container[str]) -> list[Call] | None:
    """The calls of a JSON value; None if it is not JSON, or anything in it is no call of one reading."""
    try:
        value = loads_strict(body)
    except ValueError:
        return None
    if isinstance(value, dict) and value.keys() == {"tool_calls"}:
        value = value["tool_calls"]
    calls = [_one_reading(item, names) for item in (value if isinstance(value, list) else [value])]
    return [call for call in calls if call] if all(calls) else None


def _one_reading(item: Any, names: Container[str]) -> Call | None:
    """The call that a JSON object is, if it is one in one form only."""
    if not isinstance(item, dict):
        return None
    readings = [_named(item, names)]
    if item.keys() <= {"function", "id", "type", "index"}:
        readings.append(_named(item.get("function"), names))
    if len(item) == 1:
        ((name, arguments),) = item.items()
        readings.append(Call(name, arguments) if name in names and isinstance(arguments, dict) else None)
    found = [call for call in readings if call]
    return found[0] if len(found) == 1 else None


def _named(item: Any, names: Container[str]) -> Call | None:
    """{"name", "arguments"} or {"name", "parameters"}."""
    if not isinstance(item, dict) or not item.keys() <= {"name", "arguments", "parameters", "id", "type", "index"}:
        return None
    name, given = item.get("name"), [item[key] for key in ("arguments", "parameters") if key in item]
    if not isinstance(name, str) or name not in names or len(given) > 1:
        return None
    if not GIVEN.search(json.dumps(item)) and given:
        return None  # a tool's schema
    try:
        arguments = read_arguments(given[0] if given else None)
    except CallError:
        return None
    return Call(name, arguments) if isinstance(arguments, dict) else None


def _after_a_sentence(text: str, names: set[str]) -> list[Call] | None:
    """Calls that end a reply, after a little prose that explains nothing."""
    start = min((at for at in (text.find("["), text.find("{")) if at >= 0), default=0)
    prose, body = text[:start].strip(), text[start:].strip()
    if not prose or len(prose) > MAX_PROSE_CHARS or EXPLAINS.search(prose):
        return None
    is_data = '"name"' not in body  # {"weather": {"rain": true}} may tell of it
    return (None if is_data else _from_json(body, names)) or _from_python(body, names)


def _from_python(body: str, names: set[str]) -> list[Call] | None:
    """The calls of a Python program that is nothing but calls of tools with named literals, or lists of such calls."""
    if len(body) > MAX_CHARS or not any(f"{name}(" in body for name in names):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            statements = ast.parse(body).body
        nodes: list[ast.expr] = []
        for statement in statements:
            value = statement.value if isinstance(statement, ast.Expr) else None
            if value is None:
                return None
            nodes += value.elts if isinstance(value, ast.List) else [value]
        return [_python_call(node, names) for node in nodes]
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


def _python_call(node: ast.expr, names: set[str]) -> Call:
    """Raises ValueError for what is no call of a known tool with named literals."""
    if not isinstance(node, ast.Call) or node.args or (name := ast.unparse(node.func)) not in names:
        raise ValueError("no call of a tool with named arguments")
    arguments = {keyword.arg: _literal(keyword.value) for keyword in node.keywords if keyword.arg}
    if len(arguments) != len(node.keywords):
        raise ValueError("an argument without a name, or twice")
    return Call(name, arguments)


def _literal(node: ast.expr) -> Any:
    """A Python literal as JSON: tuples are lists. Raises ValueError or TypeError for what JSON has not."""
    for part in ast.walk(node):
        if isinstance(part, ast.Dict):
            keys = [key.value if isinstance(key, ast.Constant) else None for key in part.keys]
            if len(set(keys)) != len(keys) or not all(isinstance(key, str) for key in keys):
                raise ValueError("a key twice, or one that is no text")
    return loads_strict(json.dumps(ast.literal_eval(node), allow_nan=False))
