"""What a gold expects: calls, the final state of a trace, or both.

    {"tools": [...], "calls": [...], "ordered": false, "final_state": JSON}

Only one of `calls` and `final_state` is needed, null is as good as left out; tools are the problem's where none are
given. A plain list of calls, or one call, will do; an empty list says that none is needed. A call is {"name",
"arguments"}, {"name", "accepted"}, an entry of OpenAI's `tool_calls`, or {name: {argument: [accepted values]}} as in
the Berkeley function calling leaderboard.
"""

import contextlib
import difflib
from typing import Any, NamedTuple

from rdistill.verifiers.tool_call.attempts import tool_names
from rdistill.verifiers.tool_call.calls import Call
from rdistill.verifiers.tool_call.match import Expected, GoldError, plain_value
from rdistill.verifiers.tool_call.schema import SchemaError, Toolbox

from rdistill.strict_json import loads_strict

WRITE = 'write {"calls": [{"name": ..., "arguments": {...}}]}'
KEYS = ("tools", "calls", "ordered", "final_state")
CALL_KEYS = ("name", "arguments", "accepted", "id", "type", "index")


class Gold(NamedTuple):
    """`calls` is None where any will do, `final_state` None where no state is expected."""

    tools: Any
    calls: list[Expected] | None
    ordered: bool = False
    final_state: Any = None

    @property
    def names(self) -> set[str]:
        return tool_names(self.tools) | {call.name for call in self.calls or ()}


def read_gold(gold: Any, tools: Any, *, is_trace: bool) -> Gold:
    """What a problem's gold expects, given the problem's tools; nothing of a trace that has another kind of gold.

    Raises: GoldError for a gold that cannot be read, or tells of no calls where a reply is judged by nothing else.
    """
    if isinstance(gold, dict) and not gold.keys().isdisjoint(("tools", "calls", "final_state")):
        return _read_keys(gold, tools, is_trace=is_trace)
    names = tool_names(tools)
    if gold == [] or is_calls(gold, names):
        return Gold(tools, read_calls(gold if isinstance(gold, list) else [gold], names))
    if isinstance(gold, str) and _is_text_of_gold(gold, names):
        raise GoldError("gold is the JSON text of calls; set gold_format: json in its source")
    if is_trace:
        return Gold(tools, None)
    if gold is None:
        raise GoldError(f"no gold, and the reply is no tool trace; {WRITE}, or set teacher.mode: tool_trace")
    raise GoldError(f"gold is {type(gold).__name__} without calls, and the reply is no tool trace; {WRITE}")


def _read_keys(gold: dict[str, Any], tools: Any, *, is_trace: bool) -> Gold:
    given = {key: value for key, value in gold.items() if value is not None}
    refuse_unknown("gold", given, KEYS)
    if given.keys().isdisjoint(("calls", "final_state")) and not is_trace:
        raise GoldError(f"gold has neither calls nor final_state; {WRITE}")
    ordered, state = given.get("ordered", False), given.get("final_state")
    if not isinstance(ordered, bool):
        raise GoldError(f"gold ordered: expected true or false, got {str(ordered)[:40]!r}")
    tools = given.get("tools", tools)
    calls = read_calls(given["calls"], tool_names(tools)) if "calls" in given else None
    if calls == [] and state is not None:
        raise GoldError("gold final_state: no call is expected, so none has a result; leave out calls or final_state")
    return Gold(tools, calls, ordered, state)


def refuse_unknown(where: str, given: Any, known: tuple[str, ...]) -> None:
    """Raise GoldError for a key that nobody knows, which would be ignored."""
    if unknown := next((key for key in given if key not in known), None):
        near = difflib.get_close_matches(str(unknown), known, n=1, cutoff=0.5) or [", ".join(known)]
        raise GoldError(f"{where}: unknown key {str(unknown)[:40]!r}; known is {near[0]}")


def read_calls(calls: Any, names: set[str]) -> list[Expected]:
    """The expected calls. Raises GoldError."""
    if not isinstance(calls, list):
        raise GoldError(f"gold calls: expected a list, got {type(calls).__name__}")
    return [_read_call(call, names) for call in calls]


def _read_call(call: Any, names: set[str]) -> Expected:
    if _is_ground_truth(call, names):
        ((name, accepted),) = call.items()
        return Expected(name, None, accepted)
    call = _plain(call)
    if not isinstance(call, dict) or not isinstance(name := call.get("name"), str):
        if isinstance(call, dict) and len(call) == 1 and isinstance(next(iter(call.values())), dict):
            raise GoldError(f"gold call {next(iter(call))!r}: needs a name, or a list of accepted values an argument")
        raise GoldError("gold calls: each needs a name")
    refuse_unknown(f"gold call {name!r}", call, CALL_KEYS)
    arguments, accepted = call.get("arguments"), call.get("accepted")
    if accepted is not None:
        if not isinstance(accepted, dict) or not all(isinstance(options, list) for options in accepted.values()):
            raise GoldError(f"gold call {name!r}: accepted needs an object with a list of values for each argument")
        return Expected(name, None, accepted)
    if isinstance(arguments, str):
        try:
            arguments = loads_strict(arguments.strip() or "{}")
        except ValueError as error:
            raise GoldError(f"gold call {name!r}: arguments are text and no JSON ({error})") from None
    if not isinstance(arguments, dict | None):
        raise GoldError(f"gold call {name!r}: needs arguments, or accepted, as an object")
    return Expected(name, arguments or {}, None)


def _is_ground_truth(call: Any, names: set[str]) -> bool:
    """Whether a call is {name: {argument: [accepted values]}}, of a tool that is known if any is."""
    if not isinstance(call, dict) or len(call) != 1:
        return False
    ((name, accepted),) = call.items()
    is_name = name in names if names else name not in (*CALL_KEYS, "function")
    return is_name and isinstance(accepted, dict) and all(isinstance(options, list) for options in accepted.values())


def contradiction(gold: Gold) -> str | None:
    """The first expected call that its own tool refuses, or of no tool that there is; None if none is known to be.

    Of accepted values one has to fit. Raises SchemaError for tools that cannot be read.
    """
    toolbox = Toolbox(gold.tools or [])
    for call in gold.calls or () if gold.tools else ():
        with contextlib.suppress(SchemaError):  # a reference out of the schema: nobody can say
            if fault := toolbox.fault(Call(call.name, _example(call, toolbox))):
                return f"gold call contradicts the tools: {fault}"
    return None


def _example(call: Expected, toolbox: Toolbox) -> dict[str, Any]:
    """Expected arguments; of accepted values the first that the tool's schema takes, none where "" is among them."""
    if call.accepted is None or call.name not in toolbox.schemas:
        return call.arguments or {}
    example = {}
    for name, options in call.accepted.items():
        values = [plain_value(option) for option in options]
        fitting = [value for value in values if toolbox.takes(call.name, name, value)]
        is_needed = name in toolbox.schemas[call.name].get("required", ())
        if "" not in options or is_needed:
            example[name] = next(iter(fitting or values), None)
    return example


def is_calls(value: Any, names: set[str]) -> bool:
    """Whether a value can only be meant as calls: one, or a list with one. `names`: of the tools that are known."""
    if isinstance(value, list):
        return any(isinstance(item, dict) and is_calls(item, names) for item in value)
    if not isinstance(value, dict):
        return False
    call = _plain(value)
    if not isinstance(name := call.get("name"), str):
        return bool(names) and _is_ground_truth(value, names)
    return (
        (name in names and call.keys() <= set(CALL_KEYS))
        or isinstance(call.get("accepted"), dict)
        or isinstance(arguments := call.get("arguments"), dict)
        or (isinstance(arguments, str) and (call is not value or arguments.lstrip().startswith("{")))
    )


def _plain(call: Any) -> Any:
    """An OpenAI `tool_calls` entry as {"name", "arguments"}; anything else as it is."""
    function = call.get("function") if isinstance(call, dict) else None
    return function if isinstance(function, dict) else call


def _is_text_of_gold(text: str, names: set[str]) -> bool:
    if text.lstrip()[:1] not in ("[", "{"):
        return False
    try:
        value = loads_strict(text)
    except ValueError:
        return False
    return is_calls(value, names) or (
        isinstance(value, dict) and (isinstance(value.get("calls"), list) or "final_state" in value)
    )
