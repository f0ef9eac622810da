"""A small grammar of one's own for formulas: cleaned text to a tree of tuples, or None. Nothing is evaluated here.

What can be read in two ways is not read at all: f(2x), a/bc, 1 1/2, 2 3. Bounded: text, bars and depth.
"""

import re
from typing import Any

from rdistill.verifiers.math.tokens import (
    CONSTANTS,
    FUNCTIONS,
    GREEK,
    TRIGONOMETRY,
    Unreadable,
    bar_readings,
    tokenise,
)

Node = tuple[Any, ...]
"""(operation, ...): ("number", text), ("+", a, b), ("call", function, a), ("sum", name, low, high, a)."""

BINDERS = ("sum", "prod", "int")
MAX_CHARS, MAX_DEPTH = 300, 40
UNKNOWN_FUNCTIONS = frozenset("fghFGHP")
NESTING = {"(": ")", "[": "]", "{": "}", "|(": ")|", "\\lfloor": "\\rfloor", "\\lceil": "\\rceil"}
AROUND = {"|(": "fabs", "\\lfloor": "floor", "\\lceil": "ceil"}
TIMES = ("*", "\\cdot", "\\times")
FUNCTION_CALL = re.compile(r"(?:" + "|".join(sorted(FUNCTIONS, key=len, reverse=True)) + r")\s*(?=\()")
APPLIED = re.compile(r"[A-Za-z]\([a-z]\)")


def read(text: str) -> list[Node] | None:
    """The sides of an equation, or the one expression; None for what is neither."""
    if len(text) > MAX_CHARS or APPLIED.search(FUNCTION_CALL.sub(" ", text)):
        return None
    try:
        tokens = list(tokenise(text))
    except Unreadable:
        return None
    for reading in bar_readings(tokens):
        try:
            parser = Parser(reading)
            sides = [parser.sum()]
            while parser.take("="):
                sides.append(parser.sum())
            parser.expect_end()
        except Unreadable:
            continue
        return sides
    return None


def names(node: Any) -> set[str]:
    """The letters of a tree that are not bound by a sum or integral, e and i among them."""
    if not isinstance(node, tuple):
        return set()
    if node[0] in ("number", "name"):
        return {node[1]} if node[0] == "name" else set()
    if node[0] in BINDERS:
        return names(node[2]) | names(node[3]) | (names(node[4]) - {node[1]})
    return set().union(*(names(part) for part in node[1:]))


def minus(node: Node) -> Node:
    return ("-", ("number", "0"), node)


class Parser:
    """Recursive descent over tokens."""

    def __init__(self, tokens: list[str], depth: int = 0) -> None:
        self.tokens, self.at, self.depth = tokens, 0, depth

    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""

    def next(self) -> str:
        self.at += 1
        return self.tokens[self.at - 1] if self.at <= len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        return self.next() if self.peek() in wanted else ""

    def expect(self, wanted: str) -> None:
        if self.next() != wanted:
            raise Unreadable

    def expect_no_sign(self) -> None:
        if self.peek() in ("+", "-"):
            raise Unreadable  # a pair of them is all that is written on purpose

    def expect_end(self) -> None:
        if self.at < len(self.tokens):
            raise Unreadable

    def sum(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable
        found = self.product()
        while sign := self.take("+", "-"):
            found = (sign, found, self.product())
            if "mod" in (found[1][0], found[2][0]):
                raise Unreadable  # 8 + 5 mod 3
        self.depth -= 1
        return found

    def product(self) -> Node:
        if sign := self.take("+", "-"):
            self.expect_no_sign()
            return self.product() if sign == "+" else minus(self.product())
        found, is_over = self.power(), False
        while True:
            if self.take(*TIMES):
                found, is_over = ("*", found, self.signed()), False
            elif self.take("/"):
                is_numbers = found[0] == "number"
                divisor = self.signed()
                is_over = not (is_numbers and divisor[0] == "number")
                found = ("/", found, divisor)
            elif self.take("\\mod", "\\bmod"):
                found = ("mod", found, self.power())
            elif self.starts_factor():
                if is_over or (found[0] == "number" and self.is_mixed()):
                    raise Unreadable
                found = ("*", found, self.power())
            else:
                return found

    def signed(self) -> Node:
        if not self.take("-"):
            return self.power()
        self.expect_no_sign()
        return minus(self.power())

    def starts_factor(self) -> bool:
        token = self.peek()
        return token.isalpha() or token in ("(", "[", "{", "|(") or (token[:1] == "\\" and token not in NOT_FACTORS)

    def is_mixed(self) -> bool:
        """3\\frac{1}{2} is no product."""
        return self.peek() == "\\frac" and self.peek(2)[:1].isdigit() and self.peek(3) == "}"

    def power(self) -> Node:
        found = self.atom()
        if self.take("!"):
            found = ("call", "factorial", found)
        if self.take("^"):
            exponent = self.argument()
            if found[0] == "name" and self.take("_"):
                found = ("name", f"{found[1]}_{self.subscript()}")
            found = ("^", found, exponent)
        return found

    def argument(self) -> Node:
        """What stands in braces, or the one thing that follows."""
        if self.take("-"):
            self.expect_no_sign()
            return minus(self.argument())
        if self.peek()[:1].isdigit() and self.peek(1) == "_":
            return ("number", self.next())  # v^2_0
        return self.power() if self.peek(1) == "^" and self.peek() not in NESTING else self.atom()

    def digit(self) -> Node:
        """The same where LaTeX takes one digit only, and in bounds, where ^ is no power."""
        if len(self.peek()) > 1 and self.peek()[0].isdigit():
            raise Unreadable
        if self.take("-"):
            self.expect_no_sign()
            return minus(self.digit())
        return ("number", self.next()) if self.peek().isdigit() else self.atom()

    def subscript(self) -> str:
        if not self.take("{"):
            return self.next()
        found = ""
        while (token := self.next()) != "}":
            if not token or token in "{^_":
                raise Unreadable
            found += token.strip("\\")
        return found

    def atom(self) -> Node:
        token = self.next()
        if token[:1].isdigit() or token[:1] == ".":
            if self.peek()[:1].isdigit() or self.peek() == "_":
                raise Unreadable
            return ("number", token)
        if token in NESTING:
            return self.nested(token)
        if token.isalpha() or token[1:] in CONSTANTS or (token[1:] in GREEK and not self.is_call(token)):
            return self.name(token)
        if token in ("\\sum", "\\prod"):
            return self.series(token[1:])
        if token == "\\int":
            return self.integral()
        if token in ("\\frac", "\\binom") and self.peek() != "(":
            top, bottom = self.digit(), self.digit()
            return ("/", top, bottom) if token == "\\frac" else ("call", "binomial", top, bottom)
        if token == "\\sqrt" and self.peek() != "(":
            root = self.nested(self.next()) if self.peek() == "[" else ("number", "2")
            return ("^", self.digit(), ("/", ("number", "1"), root))
        if token[1:] in FUNCTIONS:
            return self.call(token[1:])
        raise Unreadable

    def is_call(self, token: str) -> bool:
        return token[1:] in FUNCTIONS and self.peek() == "("

    def nested(self, opened: str) -> Node:
        items = [self.sum()]
        while opened == "(" and self.take(","):
            items.append(self.sum())
        self.expect(NESTING[opened])
        if len(items) > 1:
            return ("vector", *items)
        return ("call", AROUND[opened], items[0]) if opened in AROUND else ("group", items[0])

    def name(self, token: str) -> Node:
        if token in UNKNOWN_FUNCTIONS and self.peek() == "(":
            raise Unreadable
        found = token.strip("\\")
        if self.take("_"):
            found += f"_{self.subscript()}"
        return ("name", found)

    def call(self, function: str) -> Node:
        """sin(x), sin^2 x, \\sin^{-1}(x), log_2 8: without brackets it takes what is multiplied without a sign."""
        power = base = None
        while mark := self.take("^", "_"):
            if mark == "^":
                power = self.argument()
            else:
                base = self.atom()
        if self.peek() in ("(", "{", "["):
            inside = self.nested(self.next())
            arguments = list(inside[1:])
        else:
            arguments = [self.power()]
            while self.peek().isalpha() or self.peek()[1:] in (*GREEK, *CONSTANTS):
                arguments = [("*", arguments[0], self.power())]
        name = FUNCTIONS[function]
        if power is not None and _text(power) == "-1":
            if name not in TRIGONOMETRY:
                raise Unreadable
            name, power = "a" + name, None
        found: Node = ("call", name, *arguments)
        if base is not None:
            if function != "log":
                raise Unreadable
            found = ("/", found, ("call", "ln", base))
        return ("^", found, power) if power is not None else found

    def series(self, kind: str) -> Node:
        self.expect("_")
        self.expect("{")
        name = self.next()
        self.expect("=")
        low = self.sum()
        self.expect("}")
        self.expect("^")
        return (kind, name, low, self.digit(), self.product())

    def integral(self) -> Node:
        self.expect("_")
        low = self.digit()
        self.expect("^")
        high = self.digit()
        end = next((at for at in range(self.at, len(self.tokens)) if self.is_differential(at)), None)
        if end is None:
            raise Unreadable
        inner = Parser(self.tokens[self.at : end], self.depth)
        body: Node = inner.sum() if end > self.at else ("number", "1")
        inner.expect_end()
        self.at = end + 2
        return ("int", self.tokens[end + 1].strip("\\"), low, high, body)

    def is_differential(self, at: int) -> bool:
        following = self.tokens[at + 1] if at + 1 < len(self.tokens) else ""
        return self.tokens[at] == "d" and (following.isalpha() or following[1:] in GREEK)


NOT_FACTORS = frozenset((*TIMES, "\\rfloor", "\\rceil", "\\le", "\\ge", "\\ne", "\\neq", "\\pm", "\\mp"))


def _text(node: Node) -> str:
    """A number in brackets as text; "" for anything larger."""
    if node[0] == "group":
        return _text(node[1])
    if node[0] == "-" and node[1] == ("number", "0"):
        return f"-{_text(node[2])}"
    return str(node[1]) if node[0] == "number" else ""
