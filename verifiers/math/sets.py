"""Set algebra: [0,6] \\setminus (1,2) is [0,1] \\cup [2,6], and (A \\cap B)' is A' \\cup B'.

Two expressions are the same set if no number, or no element that is in some of the named sets and not in the others,
is in one of them only.
"""

import re
from collections.abc import Callable
from itertools import pairwise, product
from typing import Any

from rdistill.verifiers.math.clean import squash
from rdistill.verifiers.math.point import NoValue
from rdistill.verifiers.math.values import constant

Element = dict[str, bool] | int
Contains = Callable[[Element], bool]

MINUS = re.compile(r"(?<=[])}])\s*-\s*(?=[\[({])|(?<=\bR)\s*-\s*(?=\{)")
"""Between sets, where a square bracket or brace shows that these are no vectors."""
LOGIC = {"\\neg": "¬", "\\lnot": "¬", "∨": "\\cup ", "\\lor": "\\cup ", "\\vee": "\\cup ", "∧": "\\cap "}
OPERATOR = re.compile(r"\\cup|\\cap|\\setminus|¬|[])}'] *U *[\[({]|[A-Z] *(?:'|\^ *(?:\{ *[cC] *\}|c))")
TOKEN = re.compile(
    r"\s*(?:(\\cup|\\cap|\\setminus|U(?=\s*[\[({]))|('|\^\s*(?:\{\s*[cC]\s*\}|[cC]))|([A-Z])(?![A-Za-z])"
    r"|(\\emptyset|\\mathbb\{R\}|\{[^{}]*\})|([(\[])([^,()\[\]]+),([^,()\[\]]+)([)\]])|([()¬]))\s*"
)
RELATIONS = {"⊇": "⊆", "⊃": "⊂", "⊉": "⊈", "⊅": "⊄", "∋": "∈", "∌": "∉", "\\supseteq": "\\subseteq", "\\supset":
             "\\subset", "\\nsupseteq": "\\nsubseteq", "\\ni": "\\in", "\\not\\supset": "\\not\\subset"}  # fmt: skip
RELATION = re.compile(r"\\(?:not\s*\\)?n?(?:sup|sub)set(?:eq)?(?![a-z])|\\(?:ni|in)(?![a-z])|[⊆⊂⊈⊄⊇⊃⊉⊅∋∌∉]")
TURNED_BACK = {"\\subseteq": "⊆", "\\subset": "⊂", "\\nsubseteq": "⊈", "\\not\\subset": "⊄", "\\in": "∈"}
MAX_SETS, MAX_ENDS, MAX_CHARS, SCALE = 5, 24, 300, 10**40
INFINITE = SCALE**2


class Unreadable(Exception):
    pass


def same_sets(gold: str, answer: str) -> bool:
    """Whether both are expressions of sets, one at least with an operator, for the same set; or such a relation."""
    if max(len(gold), len(answer)) > MAX_CHARS:
        return False
    gold, answer = (_plain(text) for text in (gold, answer))
    relations = [_relation(text) for text in (gold, answer)]
    if all(relations):
        (low, sign, high), (other_low, other_sign, other_high) = relations  # type: ignore[misc]
        return sign == other_sign and _are_same(low, other_low) and _are_same(high, other_high)
    return bool(OPERATOR.search(gold) or OPERATOR.search(answer)) and _same(gold, answer)


def _plain(text: str) -> str:
    """With logical signs and minus as operators of sets."""
    for sign, operator in LOGIC.items():
        text = text.replace(sign, operator)
    return MINUS.sub(r" \\setminus ", text) if set("[]{") & set(text) else text


def _relation(text: str) -> tuple[str, str, str] | None:
    """A \\supset B as (B, ⊂, A)."""
    found = [*RELATION.finditer(text)]
    if len(found) != 1:
        return None
    left, sign, right = text[: found[0].start()].strip(), squash(found[0][0]), text[found[0].end() :].strip()
    if not left or not right:
        return None
    forward = RELATIONS.get(sign, sign)
    parts = (left, right) if forward == sign else (right, left)
    return parts[0], TURNED_BACK.get(forward, forward), parts[1]


def _are_same(gold: str, answer: str) -> bool:
    return squash(gold) == squash(answer) or _same(gold, answer)


def _same(gold: str, answer: str) -> bool:
    names: set[str] = set()
    ends: set[int] = set()
    try:
        left, right = _Reader(gold, names, ends).read(), _Reader(answer, names, ends).read()
    except (Unreadable, NoValue):
        return False
    names -= {"R"} if ends else set()  # the real numbers, beside intervals
    if bool(names) is bool(ends) or len(names) > MAX_SETS or len(ends) > MAX_ENDS:
        return False
    return all(left(element) == right(element) for element in _elements(sorted(names), sorted(ends)))


def _elements(names: list[str], ends: list[int]) -> list[Element]:
    """One of each kind: in every choice of the named sets, or at, between and beyond the ends of intervals."""
    if names:
        return [dict(zip(names, choice, strict=True)) for choice in product((True, False), repeat=len(names))]
    return [ends[0] - 2, *ends, *((a + b) // 2 for a, b in pairwise(ends)), ends[-1] + 2]


class _Reader:
    """Recursive descent; different operators side by side need brackets."""

    def __init__(self, text: str, names: set[str], ends: set[int]) -> None:
        self.names, self.ends, self.tokens = names, ends, []
        at = 0
        while at < len(text):
            match = TOKEN.match(text, at)
            if match is None:
                raise Unreadable
            self.tokens.append(match.groups())
            at = match.end()
        self.at = 0

    def read(self) -> Contains:
        found = self.union()
        if self.at < len(self.tokens):
            raise Unreadable
        return found

    def next(self) -> tuple[Any, ...]:
        if self.at == len(self.tokens):
            raise Unreadable
        self.at += 1
        return self.tokens[self.at - 1]

    def union(self) -> Contains:
        found, signs = self.term(), set()
        while self.at < len(self.tokens) and (sign := self.tokens[self.at][0]):
            self.at += 1
            signs.add("\\cup" if sign == "U" else sign)
            found = _combined(sign, found, self.term())
        if len(signs) > 1:
            raise Unreadable
        return found

    def term(self) -> Contains:
        _, _, name, listed, left, low, high, right, bracket = self.next()
        if name:
            found = self.named(name)
        elif listed:
            found = self.listed(listed)
        elif left:
            found = self.interval(left, self.end(low), self.end(high), right)
        elif bracket == "¬":
            return _complement(self.term())
        elif bracket == "(":
            found = self.union()
            if self.next()[8] != ")":
                raise Unreadable
        else:
            raise Unreadable
        while self.at < len(self.tokens) and self.tokens[self.at][1]:
            self.at += 1
            found = _complement(found)
        return found

    def named(self, name: str) -> Contains:
        self.names.add(name)
        return lambda element: element[name] if isinstance(element, dict) else name == "R"

    def listed(self, text: str) -> Contains:
        if text == "\\mathbb{R}":
            return lambda element: True
        members = {self.end(item) for item in text[1:-1].split(",") if item.strip()} if text[0] == "{" else set()
        return lambda element: element in members

    def interval(self, left: str, low: int, high: int, right: str) -> Contains:
        if low > high:
            raise Unreadable
        return lambda element: (
            isinstance(element, int)
            and (low < element < high or (left == "[" and element == low) or (right == "]" and element == high))
        )

    def end(self, text: str) -> int:
        """An end as a whole number, so that equal ends are equal."""
        compact = text.replace(" ", "").removeprefix("+")
        if compact in ("\\infty", "-\\infty", "inf", "-inf", "infinity", "-infinity"):
            found = -INFINITE if compact[0] == "-" else INFINITE
        else:
            found = 2 * constant(text, SCALE)
            if abs(found) >= INFINITE:
                raise Unreadable
        self.ends.add(found)
        return found


def _complement(found: Contains) -> Contains:
    return lambda element: not found(element)


def _combined(sign: str, left: Contains, right: Contains) -> Contains:
    if sign == "\\cap":
        return lambda element: left(element) and right(element)
    if sign == "\\setminus":
        return lambda element: left(element) and not right(element)
    return lambda element: left(element) or right(element)
