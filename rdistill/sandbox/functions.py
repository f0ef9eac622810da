"""Run a solution's functions and bring the values back, to be compared where the solution cannot reach.

    run = run_function(sandbox, "def add(a, b): return a + b", "add", [[2, 3], [0, 0]])
    run.status, [o.value for o in run.outcomes]        # ("ok", [5, 0])

Expected values never enter the sandbox and the exit status is not looked at. What comes back is a stream that the
solution may have forged: it must hold one well-formed record for each step, each once and in order, or the run is an
`error`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from rdistill.sandbox.box import MAX_VALUES_BYTES, Sandbox, SandboxStatus
from rdistill.strict_json import loads_strict

MAX_STEPS, MAX_JSON_DEPTH, MAX_INT_HEX = 10_000, 110, 1 << 18


class Outcome(NamedTuple):
    """What one step gave: a value made of builtin types, or an `error` (`Type: message`) in its place.

    `is_limit`: the error is the sandbox's limit, not the solution's mistake.
    """

    value: Any = None
    error: str | None = None
    is_limit: bool = False


class StepsRun(NamedTuple):
    """`ok`: every step has an outcome. `error`: the solution did not load, died, or broke the record stream.

    `detail` says more where there are no outcomes.
    """

    status: SandboxStatus
    outcomes: list[Outcome]
    detail: str = ""


def run_function(
    sandbox: Sandbox, code: str, entry_point: str, arguments: list[list[Any]], *, timeout_s: float | None = None
) -> StepsRun:
    """Call one function once for each list of JSON arguments."""
    steps = [{"kind": "call", "name": entry_point, "args": args} for args in arguments]
    return run_steps(sandbox, code, steps, timeout_s=timeout_s)


def run_steps(sandbox: Sandbox, code: str, steps: list[dict[str, Any]], *, timeout_s: float | None = None) -> StepsRun:
    """Define `code` in the sandbox, then run steps in its namespace, one after the other.

    A step is {"kind": "call", "name", "args"}, {"kind": "value", "code"} (an expression) or {"kind": "run", "code"}
    (statements; its value is True). Raises ValueError for no or too many steps; never for what the solution does.
    """
    if not 0 < len(steps) <= MAX_STEPS:
        raise ValueError(f"{len(steps)} steps, expected 1 to {MAX_STEPS}")
    result = sandbox.run(code, steps=steps, timeout_s=timeout_s)
    if result.status in ("timeout", "resource_limit", "sandbox_error"):
        return StepsRun(result.status, [], result.stderr[-200:])
    try:
        loaded, *outcomes = read_outcomes(result.values, len(steps))
    except ValueError as error:
        return StepsRun("error", [], f"exit status {result.exit_code}, {error}")
    if loaded.error is not None:
        return StepsRun("resource_limit" if loaded.is_limit else "error", [], loaded.error)
    return StepsRun("ok", outcomes)


def read_outcomes(stream: bytes, num_steps: int) -> list[Outcome]:
    """Decode the records of a load and `num_steps` steps. Raises ValueError for any other stream of bytes."""
    if len(stream) > MAX_VALUES_BYTES:
        raise ValueError(f"{len(stream)} bytes of results, at most {MAX_VALUES_BYTES}")
    lines = stream.split(b"\n")
    if lines.pop() != b"" or len(lines) > num_steps + 1:
        raise ValueError(f"{len(lines)} lines of results, expected {num_steps + 1} whole ones")
    outcomes = []
    for number, line in enumerate(lines, -1):
        outcomes.append(_outcome(_record(line), number))
        if number == -1 and outcomes[0].error is not None:
            return outcomes + [Outcome(error="not run")] * num_steps
    if len(outcomes) != num_steps + 1:
        raise ValueError(f"it stopped after {max(len(outcomes) - 1, 0)} of {num_steps} steps")
    return outcomes


def _record(line: bytes) -> dict[str, Any]:
    try:
        text = line.decode("ascii")
    except UnicodeDecodeError:
        raise ValueError("a result line is not ASCII") from None
    record = loads_strict(text, max_chars=MAX_VALUES_BYTES, max_depth=MAX_JSON_DEPTH)
    if not isinstance(record, dict) or len(record) != 2 or "step" not in record:
        raise ValueError("a result line is not a record")
    return record


def _outcome(record: dict[str, Any], number: int) -> Outcome:
    step = record.pop("step")
    if type(step) is not int or step != number:
        raise ValueError(f"a result for step {str(step)[:20]} where {number} was due")
    ((kind, content),) = record.items()
    if kind == "value":
        return Outcome(value=decode(content))
    if kind not in ("error", "limit", "other") or not isinstance(content, str):
        raise ValueError("a result line is not a record")
    return Outcome(error=f"it returned {content}" if kind == "other" else content, is_limit=kind == "limit")


def decode(tagged: Any) -> Any:
    """A value from its tagged JSON (child.py has the inverse). Raises ValueError for what `encode` never writes."""
    if tagged is None or type(tagged) in (bool, int, str):
        return tagged
    if type(tagged) is list:
        return [decode(item) for item in tagged]
    if type(tagged) is not dict or len(tagged) != 1:
        raise ValueError("an untagged value")
    ((tag, content),) = tagged.items()
    if tag not in _DECODERS:
        raise ValueError(f"unknown tag {tag[:20]!r}")
    try:
        return _DECODERS[tag](content)
    except (TypeError, OverflowError):
        raise ValueError(f"a bad {tag}") from None


def _text(content: Any, max_chars: int) -> str:
    if type(content) is not str or len(content) > max_chars:
        raise ValueError("a bad scalar")
    return content


def _items(content: Any) -> list[Any]:
    if type(content) is not list:
        raise ValueError("a bad collection")
    return [decode(item) for item in content]


def _pairs(content: Any) -> dict[Any, Any]:
    pairs = _items(content)
    if any(type(pair) is not list or len(pair) != 2 for pair in pairs):
        raise ValueError("a bad dict")
    table = {key: value for key, value in pairs}
    if len(table) != len(pairs):
        raise ValueError("a dict with a key twice")
    return table


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda content: int(_text(content, MAX_INT_HEX), 16),
    "float": lambda content: float(_text(content, 40)),
    "complex": lambda content: complex(_text(content, 80)),
    "bytes": lambda content: bytes.fromhex(_text(content, MAX_VALUES_BYTES)),
    "tuple": lambda content: tuple(_items(content)),
    "set": lambda content: set(_items(content)),
    "frozenset": lambda content: frozenset(_items(content)),
    "dict": _pairs,
}


def equals_json(value: Any, expected: Any) -> bool:
    """Whether a returned value is the expected JSON value.

    Exact types, but: numbers compare by value (floats to 1e-9, relative or absolute), a tuple is as good as a list, and
    a dict's int, float, bool or None keys as their JSON text. True is not 1.
    """
    if isinstance(expected, bool) or expected is None or isinstance(expected, str):
        return type(value) is type(expected) and value == expected
    if isinstance(expected, int | float):
        return _same_number(value, expected)
    if isinstance(expected, list):
        is_row = type(value) in (list, tuple) and len(value) == len(expected)
        return is_row and all(map(equals_json, value, expected))
    if type(value) is not dict or not isinstance(expected, dict) or len(value) != len(expected):
        return False
    named = {_json_key(key): item for key, item in value.items()}
    return named.keys() == expected.keys() and all(equals_json(named[key], expected[key]) for key in expected)


def _same_number(value: Any, expected: int | float) -> bool:
    if type(value) is int and type(expected) is int:
        return value == expected
    if type(value) not in (int, float):
        return False
    try:
        return value == expected or math.isclose(value, expected, rel_tol=1e-9, abs_tol=1e-9)
    except OverflowError:
        return False


def _json_key(key: Any) -> str | None:
    names = {True: "true", False: "false", None: "null"}
    if type(key) is str:
        return key
    if key is None or type(key) is bool:
        return names[key]
    return repr(key) if type(key) in (int, float) else None
