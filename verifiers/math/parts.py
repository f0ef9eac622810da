"""The parts of an answer: what stands before and after a value, the two sides of a relation, the items of a group."""

import re
from itertools import chain, product, zip_longest
from typing import NamedTuple

from rdistill.verifiers.math.quantity import parse_quantity
from rdistill.verifiers.math.units import UNITS, is_known_unit

MAX_SIGNS = 4
OPEN, CLOSE = "([{", ")]}"
NAME = r"[A-Za-z](?:_\{[^{}=]{0,12}\}|_\w)?|\\(?:theta|alpha|beta|lambda|mu|phi)(?![a-z])"
NOT_LABELS = r"(?!\\?(?:sin|cos|tan|cot|sec|csc|log|ln|exp|sqrt|frac)\b)"
SEGMENT = r"[A-Z]{1,4}(?:_\{[A-Z0-9]{1,6}\}|_\w)?"
RATIO = rf"{SEGMENT}\s*[:/]\s*{SEGMENT}|[A-Za-z]{{1,4}}(?:\s*:\s*[A-Za-z]{{1,4}}){{2,}}"
RATIO_NAME = re.compile(rf"({RATIO})\s*=")
LABEL = (
    rf"{NOT_LABELS}\\?[A-Za-z]{{3,}}(?:\s*\([^()=]*\))?|\|?[A-Z]{{2,3}}\|?"
    r"|[fghFGPEVTS](?:\^\{-1\}|'+)?\([A-Za-z0-9, ]*\)"
)
"""What a value may be called: area, lcm(4, 6), |AB|, f'(2)."""
ASSIGNED = re.compile(
    rf"(?:{NAME}|{LABEL}|{RATIO}|[A-Za-z]+\([a-z]\)|\([a-z]\s*\\circ\s*[a-z]\)\([a-z]\)|\((?:{NAME})(?:,\s*(?:{NAME}))+\))"
    r"\s*(?:=|\\in)(?!=)\s*"
)
NAMED = re.compile(rf"(?:({NAME})|([A-Za-z](?:\^\{{-1\}}|'+)?\([A-Za-z0-9, ]*\)))\s*(?:=(?!=)|\\in(?![a-z]))")
"""What a letter or f(x) is said to be."""
OPERATION = re.compile(
    r"(?:\\frac\s*\{\s*(?:d|\\partial)(?![a-z]{2})[^{}=]*\}\s*\{\s*(?:d|\\partial)\s*[a-z][^{}=]*\}|d[a-z]?/d[a-z]|\\(?:int|lim)(?![a-z]))"
    r"[^=<>]*=\s*"
)
"""A derivative, integral or limit before its value."""
BOTH_SIGNS = re.compile(r"\\(pm|mp)(?![a-z])")
POINT = re.compile(r"[A-Z](?=\([^()]*,[^()]*\)$)")
TRANSPOSED = re.compile(r"[(\[]([^()\[\]]*,[^()\[\]]*)[)\]]\s*\^\s*\{?\s*(?:T|\\top|\\intercal)\s*\}?")
NESTED_LIST = re.compile(r"\[\s*\[[^\[\]]*\](?:\s*,\s*\[[^\[\]]*\])*\s*\]")
INEQUALITY = re.compile(r"\\le(?![a-z])|\\ge(?![a-z])|\\neq?(?![a-z])|<=|>=|!=|<|>")
RELATION = re.compile(rf"=|{INEQUALITY.pattern}")
THOUSANDS_BEFORE = re.compile(r"(?:^|[^0-9])[1-9][0-9]{0,2}$|,[0-9]{3}$")
THOUSANDS_AFTER = re.compile(r"[0-9]{3}(?![0-9])")
SEVERAL = re.compile(r",|;|\s(?:or|and)\s|\\lor|\\vee")
TRAILING_UNIT = re.compile(r"\s(?:square\s|cubic\s)?([A-Za-z]+)(?:\s?\^\{?[0-9]\}?)?")
SIDE_CONDITION = re.compile(r",?\s*\(?\s*(?:where\s+|for\s+)?[a-z]\s*\\in\s*\\mathbb\{[ZN]\}\)?")
EXCEPTION = re.compile(r",\s*\(?\s*(?:where\s+|for\s+)?[a-z]\s*\\neq?\s[^,]*$")
TRIGONOMETRY = re.compile(r"(?:sin|cos|tan|cot|sec|csc)\b")
PREFIX = re.compile(r"(?:\.\.\.\s*=|approximately|approx\.?|about|around|roughly|exactly|\\approx|=)\s*", re.IGNORECASE)
LETTERS = re.compile(r"\\(?!frac|times|cdot|sqrt|div|b?mod)[A-Za-z]|(?<![\\A-Za-z])(?!mod\b)[A-Za-z]")
INTEGER = re.compile(r"[-+]?[0-9]+")
CONJUNCTION = re.compile(r"(?:^|\s)\s*and\s+")
MATRIX = re.compile(r"\\begin\{([pbB]?matrix)\}((?:(?!\\begin).)*)\\end\{\1\}", re.DOTALL)
"""One matrix: bars around it make its determinant, a number."""


class Group(NamedTuple):
    """Several values. Brackets: "" for a bare list or alternatives (in any order), "=x,y" for values with names."""

    brackets: str
    items: list[str]


def strip_prefix(text: str) -> str:
    """Without "about", a leading "=", an "x =" and the steps of "x = 5 + 6 = 11"; an equation keeps both sides."""
    text = text[match.end() :] if (match := PREFIX.match(text)) else text
    if "\\ne" in text and (match := EXCEPTION.search(text)):
        text = text[: match.start()] or text
    if "\\mathbb" in text and (match := SIDE_CONDITION.search(text)) and match.end() == len(text):
        text = text[: match.start()] or text
    head, _, tail = text.rpartition("\\approx")
    if head.strip():
        text = tail.strip() if ASSIGNED.fullmatch(head.strip() + "=") else head.strip()
    if text.count("=") > 1 and not INEQUALITY.search(text) and not SEVERAL.search(text):
        text = text.rpartition("=")[2].strip() or text
    if text.count("=") == 1 and (result := _result(text)):
        return result
    match = ASSIGNED.match(text) or OPERATION.match(text)
    return text[match.end() :] if match and not set("=<>") & set(text[match.end() :]) and text[match.end() :] else text


def _result(text: str) -> str:
    """What comes out of 20 + 6 = 26; "" for 7 = 2a + b, an equation, and for 1 = 1."""
    head, _, tail = (part.strip() for part in text.partition("="))
    if LETTERS.search(head) or INTEGER.fullmatch(head) or INEQUALITY.search(text):
        return ""
    return tail if parse_quantity(tail) is not None or not LETTERS.search(tail) else ""


def strip_unit(text: str, *, letters: bool = False) -> tuple[str, str]:
    """(expression, unit): an expression and the unit of measure after it, or ""; `letters`: m is a unit as well."""
    words = text.rstrip().rsplit(" ", 2)
    for at in range(1, len(words)):
        tail = " " + " ".join(words[at:])
        match = TRAILING_UNIT.fullmatch(tail)
        if "degree" in tail and TRIGONOMETRY.search(text):
            break
        is_unit = match and (match[1] in UNITS or match[1] in ("unit", "units")) and (letters or len(match[1]) > 1)
        if is_unit or ("/" in tail and is_known_unit(tail.strip())):
            return " ".join(words[:at]).rstrip(), tail.strip()
    return text, ""


def split_relation(text: str) -> tuple[str, str, str] | None:
    """An inequality with one sign as (smaller side, sign, larger side), or None."""
    found = INEQUALITY.findall(text)
    if len(found) != 1 or (text[:1] in OPEN and closes_at_end(text)):
        return None
    left, _, right = (part.strip() for part in text.partition(found[0]))
    sign = {"\\ge": ">=", "\\le": "<=", "\\ne": "!=", "\\neq": "!="}.get(found[0], found[0])
    return (right, sign.replace(">", "<"), left) if ">" in sign else (left, sign, right)


def split_group(text: str) -> Group | None:
    """Read several values in one answer, or None."""
    if NESTED_LIST.fullmatch(text):
        return _matrix([split_top(row) for row in re.findall(r"\[([^\[\]]*)\]", text[1:-1])])
    text = POINT.sub("", text)
    if match := TRANSPOSED.fullmatch(text):
        return _matrix([[item] for item in split_top(match[1])])
    if text[:1] in OPEN and text[-1:] in CLOSE and closes_at_end(text):
        items = [item for part in split_top(text[1:-1]) for item in both_signs(part)]
        return Group(text[0] + text[-1], items) if len(items) > 1 or text[0] == "{" else None
    if match := MATRIX.fullmatch(text):
        rows = [row.split("&") for row in match[2].strip().removesuffix("\\\\").split("\\\\")]
        return _matrix(rows)
    if len(both := both_signs(text)) > 1 and "," not in text:
        return Group("", [strip_prefix(value) for value in both])
    if "\\cup" in text:
        terms = [t.strip() for t in text.split("\\cup")]
        if all(t[:1] == "{" and t[-1:] == "}" for t in terms):
            return Group("{}", [item for t in terms for item in split_top(t[1:-1])])
        return Group("\\cup", terms)
    alternatives = re.split(r"\s+or\s+|,\s*or\s+|\\lor|\\vee", text)
    if len(alternatives) > 1:
        values = [t.strip(" ,") for t in alternatives]
        names = {match[0].split("=")[0].split("_")[0].strip() for value in values if (match := ASSIGNED.match(value))}
        values = values if len(names) > 1 else [strip_prefix(value) for value in values]  # x = 3 or y = 2 is no point
        lists = [[v] if RELATION.search(v) else split_top(v) for v in values]  # "1, 2 or 3"
        return Group("", [item for values in lists for item in values])
    tuples = split_top(text, ";")
    sizes = {len(split_top(t)) for t in tuples}
    if len(tuples) > 1 and len(sizes) == 1 and sizes != {1}:
        return Group("", tuples)  # "x = 1, y = 2; x = 3, y = 4"
    parts = [part for whole in split_top(text) for part in both_signs(whole)]
    items = [item.strip() for part in parts for item in CONJUNCTION.split(part) if item.strip()]
    if len(items) > 1 and parse_quantity(text) is None:
        return _named(items) or Group("", [strip_prefix(item) for item in items])
    return None


def _matrix(rows: list[list[str]]) -> Group:
    shape = "x".join(str(len(row)) for row in rows)
    return Group(f"matrix {shape}", [cell.strip() for row in rows for cell in row])


def _named(items: list[str]) -> Group | None:
    """ "x = 2, y = 3" as values in the order of their names; "x_1 = 2, x_2 = 3" are values of one name, in any order.

    None unless each has a name of its own.
    """
    named = {match[0].split("=")[0].strip(): item[match.end() :] for item in items if (match := ASSIGNED.match(item))}
    if len(named) < len(items):
        return None
    if len({name.partition("_")[0] for name in named}) == 1 and all("_" in name for name in named):
        return Group("", list(named.values()))
    names = sorted(named, key=lambda name: (name.startswith("\\"), name))  # r before \theta
    return Group("=" + ",".join(names), [named[name] for name in names])


def both_signs(text: str) -> list[str]:
    """ "1 \\pm 2" as its two values; of several signs each either way, but \\mp always against \\pm."""
    marks = BOTH_SIGNS.findall(text)
    if not 0 < len(marks) <= MAX_SIGNS:
        return [text]
    if len(set(marks)) == 1:
        chosen = list(product("+-", repeat=len(marks)))
    else:
        chosen = [tuple("+" if mark == plus else "-" for mark in marks) for plus in ("pm", "mp")]
    between = BOTH_SIGNS.split(text)[::2]
    values = ["".join(chain.from_iterable(zip_longest(between, signs, fillvalue=""))) for signs in chosen]
    return [value.strip().removeprefix("+").strip() for value in values]


def closes_at_end(text: str) -> bool:
    """Whether the first bracket is closed by the last character (brackets of intervals may differ)."""
    depth = 0
    for at, char in enumerate(text):
        depth += (char in OPEN) - (char in CLOSE)
        if depth == 0:
            return at == len(text) - 1
    return False


def split_top(text: str, marks: str = ",;") -> list[str]:
    """Split at commas outside brackets; "1,234" stays whole where it is a number."""
    items, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char in OPEN) - (char in CLOSE)
        if depth == 0 and char in marks and not _is_thousands(text, at):
            items.append(text[start:at].strip())
            start = at + 1
    return [*items, text[start:].strip()]


def _is_thousands(text: str, at: int) -> bool:
    return bool(THOUSANDS_BEFORE.search(text[max(0, at - 4) : at]) and THOUSANDS_AFTER.match(text, at + 1))
