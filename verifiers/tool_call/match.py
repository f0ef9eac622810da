"""Are the calls the expected ones? Order-free unless told otherwise.

An expected call is {"name", "arguments": {arg: value}}, compared exactly, or {"name", "accepted": {arg: [values]}} as
in the Berkeley function calling leaderboard: any of the values is right, "" among them means that the argument may be
left out, and text is compared without case, spaces and punctuation.
"""

from typing import Any, NamedTuple

from rdistill.verifiers.tool_call.calls import Call

IGNORED = str.maketrans("", "", " ,./-_*^'\"")


class GoldError(ValueError):
    """The expected calls cannot be read; the message says why."""


class Expected(NamedTuple):
    """`accepted` is None where the arguments must be equal."""

    name: str
    arguments: dict[str, Any] | None
    accepted: dict[str, list[Any]] | None

    def fits(self, call: Call) -> bool:
        if call.name != self.name:
            return False
        if self.accepted is not None:
            return fits_accepted(self.accepted, call.arguments)
        return equal(self.arguments, call.arguments)


def matching_fault(expected: list[Expected], calls: list[Call], *, ordered: bool) -> str | None:
    """Why calls, as many as are expected, are not those expected; None if they are."""
    if ordered:
        wrong = next(
            (n for n, (want, call) in enumerate(zip(expected, calls, strict=True)) if not want.fits(call)), None
        )
        return None if wrong is None else f"call {wrong + 1} is not the expected {expected[wrong].name}"
    taken: dict[int, int] = {}  # expected -> call
    for at, call in enumerate(calls):
        if not _place(at, calls, expected, taken, set()):
            return f"call {at + 1}, {call.name}, is not among those expected"
    return None


def _place(at: int, calls: list[Call], expected: list[Expected], taken: dict[int, int], seen: set[int]) -> bool:
    """Give a call an expected call of its own, moving others where they fit elsewhere (bipartite matching)."""
    for slot, want in enumerate(expected):
        if slot not in seen and want.fits(calls[at]):
            seen.add(slot)
            if slot not in taken or _place(taken[slot], calls, expected, taken, seen):
                taken[slot] = at
                return True
    return False


def equal(a: Any, b: Any) -> bool:
    """Equality of JSON values in which true is not 1, but 1 is 1.0."""
    if isinstance(a, bool) or isinstance(b, bool) or a is None or b is None:
        return a is b
    if isinstance(a, int | float) and isinstance(b, int | float):
        return a == b
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(value, b[key]) for key, value in a.items())
    return a == b


def fits_accepted(accepted: dict[str, list[Any]], arguments: dict[str, Any]) -> bool:
    """Whether each argument is one of its accepted values, none is unknown, and none is missing that must be there."""
    if not arguments.keys() <= accepted.keys():
        return False
    return all(
        any(fits_value(option, arguments[name]) for option in options) if name in arguments else "" in options
        for name, options in accepted.items()
    )


def fits_value(option: Any, value: Any) -> bool:
    """Whether a value is the accepted one; objects hold lists of accepted values again."""
    if isinstance(option, str) and isinstance(value, str):
        return option == value or (option.translate(IGNORED).lower() == value.translate(IGNORED).lower() != "")
    if isinstance(option, list) and isinstance(value, list):
        return len(option) == len(value) and all(map(fits_value, option, value))
    if isinstance(option, dict) and isinstance(value, dict):
        if all(isinstance(inner, list) for inner in option.values()):
            return fits_accepted(option, value)
        return option.keys() == value.keys() and all(fits_value(inner, value[key]) for key, inner in option.items())
    return equal(option, value)


def plain_value(option: Any) -> Any:
    """An accepted value as a call has it: of the lists that objects hold the first, without what may be left out."""
    if isinstance(option, list):
        return [plain_value(item) for item in option]
    if not isinstance(option, dict) or not all(isinstance(inner, list) for inner in option.values()):
        return option
    return {key: plain_value(inner[0]) for key, inner in option.items() if inner and "" not in inner}
