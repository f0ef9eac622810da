"""Sets of real numbers in one form: x > 3, (3, \\infty), \\mathbb{R} \\setminus \\{3\\}, x < -1 or x > 4, ]0, 1]."""

import re
from itertools import pairwise
from typing import NamedTuple

from rdistill.verifiers.math.quantity import parse_quantity

SIGN = re.compile(r"(\\le(?![a-z])|\\ge(?![a-z])|\\neq?(?![a-z])|<=|>=|!=|<|>)")
SPELLINGS = {"\\le": "<=", "\\ge": ">=", "\\ne": "!=", "\\neq": "!="}
TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}
VARIABLE = re.compile(r"[A-Za-z](?:_\{?\w\}?)?|\\(?:theta|alpha|beta|lambda|mu|phi)|[a-z]\([a-z]\)|\|[a-z]\|")
ELEMENT = re.compile(r"([A-Za-z]|\\(?:theta|alpha|beta|lambda|mu|phi))\s*\\in\s*")
BUILDER = re.compile(r"\\?\{\s*([a-z])\s*(?:\\in\s*\\mathbb\{R\}\s*)?[|:](.+?)\\?\}")
REALS = re.compile(r"\\mathbb\{R\}|all real numbers|all reals|the (?:set of )?real numbers", re.IGNORECASE)
WITHOUT = re.compile(r"\\mathbb\{R\}\s*(?:\\setminus|-)\s*\{([^{}]*)\}|all real numbers except (.+)", re.IGNORECASE)
INTERVAL = re.compile(r"([(\[\]])([^,()\[\]]+|[^,]+),([^,()\[\]]+|[^,]+)([)\[\]])")
POSITIVE = re.compile(r"(?:[0-9./*^{}() +]|\\(?:sqrt|frac|pi|cdot)(?![a-z]))+")
MAX_PARTS = 12


class Span(NamedTuple):
    """An interval, its ends as written; a closed end is "[" or "]", an infinite one always open."""

    left: str
    low: str
    high: str
    right: str


class Range(NamedTuple):
    """A union of spans, and the variable that it bounds (None for an interval by itself)."""

    variable: str | None
    spans: list[Span]


def is_condition(text: str) -> bool:
    """Whether a text is written as a condition, or names a set, rather than as a plain interval."""
    return bool(SIGN.search(text) or "\\mathbb" in text or REALS.match(text) or text[:1] == "]" or text[-1:] == "[")


def read_range(text: str) -> Range | None:
    """The set of real numbers that a cleaned text describes, or None if it describes none (or none that is simple)."""
    variable = None
    if match := BUILDER.fullmatch(text):
        text = match[2].strip()
    elif match := ELEMENT.match(text):
        variable, text = match[1], text[match.end() :].strip()
    spans: list[Span] = []
    for part in re.split(r"\\cup|\\lor|\\vee|\s+or\s+", text):
        found = _part(part.strip(" ,$"))
        if found is None or (variable and found.variable and variable != found.variable):
            return None
        variable = variable or found.variable
        spans += found.spans
    return Range(variable, spans) if 0 < len(spans) <= MAX_PARTS else None


def _part(text: str) -> Range | None:
    """One term of a union."""
    if match := ELEMENT.match(text):
        found = _part(text[match.end() :].strip())
        return found and found._replace(variable=match[1])
    if REALS.fullmatch(text):
        return Range(None, _without([]))
    if match := WITHOUT.fullmatch(text):
        return _holes((match[1] or match[2]).split(","), None)
    if match := INTERVAL.fullmatch(text):
        if is_condition(match[2]) or is_condition(match[3]):
            return None
        left, right = match[1].replace("]", "("), match[4].replace("[", ")")
        return Range(None, [_span(left, match[2], match[3], right)])
    return _conditions([c for c in re.split(r",|\s+and\s+", text) if c.strip()])


def _conditions(texts: list[str]) -> Range | None:
    """Conditions on one variable that hold together: x >= 2 and x < 5."""
    bounds: dict[str, tuple[str, str]] = {}
    holes: list[str] = []
    variable = None
    for text in texts:
        for name, sign, value in _bounds(text) or [("", "", "")]:
            if variable and value == variable:  # x < -a, a < x
                name, sign, value = value, TURNED[sign], name
            if not name or (variable or name) != name or sign[:1] in bounds:
                return None
            variable = name
            if sign == "!=":
                holes.append(value)
            else:
                bounds[sign[:1]] = (sign, value)
    if holes:
        return _holes(holes, variable) if not bounds and variable and variable[0] != "|" else None
    if not bounds:
        return None
    if len(texts) == 2 and all(sign in bounds for sign in "<>") and bounds["<"][1] == f"-{bounds['>'][1]}":
        return Range(variable, [_ray(*bounds["<"]), _ray(*bounds[">"])])  # x < -a, x > a
    above, low = bounds.get(">", (">", "-\\infty"))
    below, high = bounds.get("<", ("<", "\\infty"))
    span = _span("[" if above == ">=" else "(", low, high, "]" if below == "<=" else ")")
    return _without_bars(variable, span) if variable and variable[0] == "|" else Range(variable, [span])


def _ray(sign: str, end: str) -> Span:
    """The numbers below or above one."""
    if sign[0] == "<":
        return _span("(", "-\\infty", end, "]" if sign == "<=" else ")")
    return _span("[" if sign == ">=" else "(", end, "\\infty", ")")


def _without_bars(variable: str, span: Span) -> Range | None:
    """The x with |x| in a span: 2 < |x| < 5 is (-5, -2) or (2, 5). None unless its ends are plainly positive."""
    ends = [end for end in (span.low, span.high) if "\\infty" not in end]
    if not all(POSITIVE.fullmatch(end) for end in ends):
        return None
    if span.low == "-\\infty":
        left = "[" if span.right == "]" else "("
        return Range(variable[1:-1], [Span(left, f"-{span.high}", span.high, span.right)])
    mirrored = _span(
        "[" if span.right == "]" else "(", f"-{span.high}", f"-{span.low}", "]" if span.left == "[" else ")"
    )
    return Range(variable[1:-1], [mirrored, span])


def _bounds(text: str) -> list[tuple[str, str, str]] | None:
    """(variable, sign, bound) of each sign in "2 < x", "2 <= x < 5"; None for anything else."""
    parts = [part.strip() for part in SIGN.split(text)]
    terms, signs = parts[::2], [SPELLINGS.get(sign, sign) for sign in parts[1::2]]
    if len(terms) == 2 and VARIABLE.fullmatch(terms[0]) and terms[1]:
        return [(terms[0], signs[0], terms[1])]
    if len(terms) == 2 and VARIABLE.fullmatch(terms[1]) and terms[0]:
        return [(terms[1], TURNED[signs[0]], terms[0])]
    if len(terms) == 3 and VARIABLE.fullmatch(terms[1]) and terms[0] and terms[2]:
        return [(terms[1], TURNED[signs[0]], terms[0]), (terms[1], signs[1], terms[2])]
    return None


def _span(left: str, low: str, high: str, right: str) -> Span:
    low, high = _end(low), _end(high)
    return Span("(" if low == "-\\infty" else left, low, high, ")" if high == "\\infty" else right)


def _end(text: str) -> str:
    text = text.strip()
    compact = text.replace(" ", "").removeprefix("+")
    return {"\\infty": "\\infty", "-\\infty": "-\\infty", "infinity": "\\infty", "-infinity": "-\\infty"}.get(
        compact, text
    )


def _holes(points: list[str], variable: str | None) -> Range | None:
    """All real numbers but some; None unless those are plain numbers."""
    found = [(quantity, point.strip()) for point in points if (quantity := parse_quantity(point.strip()))]
    if len(found) < len(points):
        return None
    return Range(variable, _without([point for _, point in sorted(found)]))


def _without(points: list[str]) -> list[Span]:
    ends = ["-\\infty", *points, "\\infty"]
    return [_span("(", low, high, ")") for low, high in pairwise(ends)]
