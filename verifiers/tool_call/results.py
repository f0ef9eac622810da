"""The results of a trace's calls: does each call have one, and is it an error?"""

import re
from collections import Counter
from typing import Any

from rdistill.records import Message
from rdistill.strict_json import loads_strict

ERROR = re.compile(
    r"(?:\A\s*(?:<tool_response>\s*)?|^(?!error: *[-+.\d]))(?P<line>error:.*)"
    r"|\A\s*(?P<other>(?:Error|ERROR|\w+(?:Error|Exception)):(?! *[-+.\d]).*)"
    r"|^(?P<traceback>Traceback \(most recent call last\):.*)",
    re.MULTILINE,
)
"""A result that is an error, or ends as one: after the output of a program, or the results of other calls of the turn.
There a number after it, as in `error: 0.01`, is the program's output. Tools of others begin with `Error:`."""


def have_run(turn: Message, results: list[Message]) -> bool:
    """Whether the results that follow a turn are those of its calls: by their ids, where both have any."""
    asked = Counter(str(call.get("id") or "") for call in turn.get("tool_calls") or () if isinstance(call, dict))
    given = Counter(str(result.get("tool_call_id") or "") for result in results)
    if any(asked) and any(given):
        return asked <= given
    return bool(results)


def error_in(content: str) -> str | None:
    """The line of a result that is an error, or None."""
    if found := ERROR.search(content):
        return str(found["line"] or found["other"] or found["traceback"])
    if not content.lstrip().startswith("{") or '"error"' not in content:
        return None
    try:
        fault: Any = loads_strict(content)["error"]
    except (ValueError, KeyError):
        return None
    is_number = isinstance(fault, int | float) and fault is not True  # what a measurement is off by
    return f"error: {fault}" if fault and not is_number else None
