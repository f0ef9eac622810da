"""Exact arithmetic on what a model wrote: numbers, + - * / // % **, parentheses.

    evaluate_expression("( 84.0 / 2.0 )")  -> Fraction(42, 1)
    format_number(Fraction(1, 3))          -> '0.3333333333'

No eval and no floats: a small recursive-descent parser over Fractions. Length, nesting, exponents and the size of every
intermediate value are capped, so `9**9**9` is refused at once. `^` reads as `**`, the signs for times,
divided by and minus as `*`, `/` and `-`, and commas between groups of three digits are dropped.
"""

import re
from decimal import Context, Decimal
from fractions import Fraction

MAX_CHARS, MAX_DEPTH, MAX_BITS = 2000, 50, 4096
MAX_DECIMALS, ROUNDED_DIGITS = 12, 10

_TOKEN = re.compile(r"\s*(?:(\d[\d,]*(?:\.\d*)?|\.\d+)([eE][+-]?\d{1,3}(?!\d))?|(\*\*|//|[-+*/%()]))", re.ASCII)
_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+(\.\d*)?", re.ASCII)
_SPELLINGS = str.maketrans({"\u00d7": "*", "\u00b7": "*", "\u00f7": "/", "\u2212": "-", "^": "**"})


class CalculatorError(ValueError):
    """The expression cannot be evaluated; the message says why."""


def evaluate_expression(text: str) -> Fraction:
    """The exact value of an arithmetic expression.

    Raises CalculatorError: not an expression, division by zero, or larger than the caps above.
    """
    if len(text) > MAX_CHARS:
        raise CalculatorError(f"expression of {len(text)} characters, at most {MAX_CHARS}")
    parser = _Parser(_tokens(text.translate(_SPELLINGS)))
    value = parser.sum(0)
    if parser.peek() is not None:
        raise CalculatorError(f"unexpected {_name(parser.peek())}")
    return value


def format_number(value: Fraction) -> str:
    """Plain text: integers without a point, terminating decimals whole, others to ten significant digits."""
    if value.denominator == 1:
        return str(value.numerator)
    scaled = value * 10**MAX_DECIMALS
    if scaled.denominator == 1 and abs(value) < 10**15:
        exact = Decimal(scaled.numerator).scaleb(-MAX_DECIMALS, Context(prec=60))
        return format(exact.normalize(Context(prec=60)), "f")
    rounded = Context(prec=ROUNDED_DIGITS).divide(Decimal(value.numerator), Decimal(value.denominator))
    is_plain = -10 <= rounded.adjusted() <= 20
    return format(rounded.normalize(), "f") if is_plain else str(rounded.normalize())


def _tokens(text: str) -> list[str | Fraction]:
    """Operators as text, numbers as Fractions."""
    tokens: list[str | Fraction] = []
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None:
            raise CalculatorError(f"unexpected {text[position:].strip()[:20]!r}; only numbers, + - * / // % ** and ( )")
        number, exponent, operator = match.groups()
        tokens.append(operator or _number(number, exponent or ""))
        position = match.end()
    if not tokens:
        raise CalculatorError("empty expression")
    return tokens


def _number(digits: str, exponent: str) -> Fraction:
    if "," in digits:
        if not _THOUSANDS.fullmatch(digits):
            raise CalculatorError(f"unreadable number {digits[:20]!r}")
        digits = digits.replace(",", "")
    return _small(Fraction(digits + exponent))


def _small(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MAX_BITS:
        raise CalculatorError(f"the value has more than {MAX_BITS} bits; too large")
    return value


def _name(token: str | Fraction | None) -> str:
    return f"number {format_number(token)[:20]}" if isinstance(token, Fraction) else repr(token)


class _Parser:
    """Python's precedence: sum < product < sign < power (right-associative) < atom."""

    def __init__(self, tokens: list[str | Fraction]) -> None:
        self.tokens, self.position = tokens, 0

    def peek(self) -> str | Fraction | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def take(self, *operators: str) -> str | None:
        token = self.peek()
        if isinstance(token, str) and token in operators:
            self.position += 1
            return token
        return None

    def sum(self, depth: int) -> Fraction:
        value = self.product(depth)
        while operator := self.take("+", "-"):
            right = self.product(depth)
            value = _small(value + right if operator == "+" else value - right)
        return value

    def product(self, depth: int) -> Fraction:
        value = self.sign(depth)
        while operator := self.take("*", "/", "//", "%"):
            value = _small(_product(operator, value, self.sign(depth)))
        return value

    def sign(self, depth: int) -> Fraction:
        is_negative = False
        while operator := self.take("+", "-"):
            is_negative ^= operator == "-"
        value = self.power(depth)
        return -value if is_negative else value

    def power(self, depth: int) -> Fraction:
        base = self.atom(depth)
        if not self.take("**"):
            return base
        if depth >= MAX_DEPTH:
            raise CalculatorError(f"nested deeper than {MAX_DEPTH} levels")
        return _power(base, self.sign(depth + 1))

    def atom(self, depth: int) -> Fraction:
        token = self.peek()
        if isinstance(token, Fraction):
            self.position += 1
            return token
        if depth >= MAX_DEPTH:
            raise CalculatorError(f"nested deeper than {MAX_DEPTH} levels")
        if not self.take("("):
            raise CalculatorError("expression ends too early" if token is None else f"unexpected {_name(token)}")
        value = self.sum(depth + 1)
        if not self.take(")"):
            raise CalculatorError("a ( is never closed")
        return value


def _product(operator: str, left: Fraction, right: Fraction) -> Fraction:
    if operator == "*":
        return left * right
    if right == 0:
        raise CalculatorError("division by zero")
    return {"/": lambda: left / right, "//": lambda: Fraction(left // right), "%": lambda: left % right}[operator]()


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    if exponent.denominator != 1:
        raise CalculatorError(f"exponent {format_number(exponent)} is not a whole number")
    if base == 0 and exponent < 0:
        raise CalculatorError("division by zero")
    bits = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(base) != 1 and base != 0 and bits * abs(exponent) > MAX_BITS:
        raise CalculatorError(f"the power has more than {MAX_BITS} bits; too large")
    return Fraction(base ** (int(exponent) % 2 if abs(base) == 1 else int(exponent)))
