"""JSON from hostile hands: size, depth and digit caps, no duplicate keys, no NaN, no lone surrogates.

    loads_strict('{"a": 1}')        -> {'a': 1}
    loads_strict('{"a":1,"a":2}')   -> ValueError: key 'a' stands twice

Every refusal is a ValueError with one short reason; no input raises anything else.
"""

import json
import math
from typing import Any

MAX_CHARS, MAX_DEPTH, MAX_DIGITS = 1 << 16, 32, 400


def loads_strict(
    text: str, *, max_chars: int = MAX_CHARS, max_depth: int = MAX_DEPTH, max_digits: int = MAX_DIGITS
) -> Any:
    """Parse one JSON value. Raises ValueError for everything that is not plain, small, unambiguous JSON."""
    if len(text) > max_chars:
        raise ValueError(f"{len(text)} characters of JSON, at most {max_chars}")
    if _depth(text) > max_depth:
        raise ValueError(f"JSON nested deeper than {max_depth} levels")

    def number(digits: str) -> int | float:
        if len(digits) > max_digits:
            raise ValueError(f"a number of {len(digits)} digits, at most {max_digits}")
        value = float(digits) if any(c in digits for c in ".eE") else int(digits)
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"number {digits} is out of range")
        return value

    try:
        value = json.loads(
            text, parse_int=number, parse_float=number, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}") from None
    except UnicodeEncodeError:
        raise ValueError("a string holds a lone surrogate") from None
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    return value


def _depth(text: str) -> int:
    """Deepest nesting of brackets outside strings, by one linear scan."""
    depth = deepest = 0
    in_string = is_escaped = False
    for char in text:
        if in_string:
            if is_escaped:
                is_escaped = False
            elif char == "\\":
                is_escaped = True
            elif char == '"':
                in_string = False
        elif char == '"':
            in_string = True
        elif char in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif char in "]}":
            depth -= 1
    return deepest


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"key {key[:40]!r} stands twice")
        table[key] = value
    return table


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
