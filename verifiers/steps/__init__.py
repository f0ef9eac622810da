"""Do the calculations that a rationale states hold, and does one of them give the answer?

A right answer may stand after a wrong step, or after none. What a student should imitate is one that leads there.
Linear scans and exact arithmetic: nothing evaluates model text but the calculator.
"""

import re
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from rdistill.verifiers.steps.notation import plain

from rdistill.records import Problem, Reason, Sample, Verdict
from rdistill.tools import evaluate_expression
from rdistill.verifiers import failed, passed, unverifiable

CALCULATION = re.compile(r"(?:[\d()$ */+×÷=^-]|\.(?=\d)|(?<![A-Za-z])x(?![A-Za-z]))+", re.ASCII)
LABEL = re.compile(r"^[ \t]*(?:[-+*•]|(?:Step )?\d{1,2}[.):])[ \t]+", re.ASCII | re.MULTILINE | re.IGNORECASE)
"""A bullet or a number before a line: no part of the calculation."""
CONTINUED = re.compile(r"[+*/×÷^]|- ")
"""How a calculation begins whose first number is none: y + 3, 20% - 3."""
MIDDLE = re.compile(
    r"(?:[A-Za-z_!|](?!\$)|[√%] *|\b(?:b?mod|plus|minus|times|cdot|div|(?:divided|multiplied) by|sqrt|log|ln"
    r"|half|twice|thrice|double|triple|(?:\d|%|percent|half|halves|third|thirds|quarters?|fourths?|fifths?|sixths?"
    r"|sevenths?|eighths?|ninths?|tenths?|root|square|cube|double|triple) +of) +)\S$",
    re.ASCII | re.IGNORECASE,
)
"""What may stand before the first character of a calculation that goes on from there: f(2) + 1, half of 10 + 2."""
LOOK_BACK = 30
TIMES = re.compile(r"(?<=[\d)]) *x *(?=[\d($.])", re.ASCII)
"""Any other x is a letter, and its side cannot be read."""
COMMA = re.compile(r"(?<=\d),(?=\d{3}(?!\d))", re.ASCII)
NUMBER = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
MIXED = re.compile(r"(?:(\d+) +(?:and +)?)?(\d+) */ *(\d+)|\d+(?:\.\d+)?", re.ASCII)
"""A number of an answer: 1 1/2, 1/2, 0.5."""
FRACTION = re.compile(r"\\[dt]?frac *\{ *(\d+) *\} *\{ *(\d+) *\}", re.ASCII)
NEGATIVE = re.compile(r"(?:^|[^\w)% ]|[A-Za-z] ) *-[ $]*$", re.ASCII)
"""What stands before a negative number, and not before the second of 3 - 5 or of A-2."""
OPERATION = re.compile(r"\d[\s)$]*[-*/+×÷x^]", re.ASCII)
UNIT = re.compile(
    r"(?<=[\d)])(?:/[A-Za-z]+| +(?:(?!(?:x|squared|cubed|factorial)\b|dozen|hundred|thousand|[mb]illion|percent)"
    r"[A-Za-z](?:[A-Za-z'-]|/(?=[A-Za-z]))*+ ?){1,5}+)(?= *(?:[-+*/×÷=)]|x ))",
    re.ASCII | re.IGNORECASE,
)
"""Words between a number and what is done with it: 15 oranges - 12 ripe oranges, $2/eraser x 6 erasers."""
WORD = re.compile(r"[a-z]+", re.ASCII)
MEASURES = set(
    "second minute hour day week month year inch inche foot feet yard mile meter kilometer centimeter gram kilogram "  # noqa: SIM905
    "ounce pound cent dollar liter milliliter cup pint quart gallon".split()
)
"""What converts into each other: 45 minutes + 15 minutes = 1 hour."""
MAX_CHARS = 8_000


class Side(NamedTuple):
    """One side of an equals sign. `rounding`: what a decimal written out may be off by."""

    value: Fraction
    rounding: Fraction


class Steps:
    """Options: `require_calculation`, a rationale without a calculation that gives the answer fails too."""

    name = "steps"
    version = "5"

    def __init__(self, *, require_calculation: bool = True) -> None:
        self.require_calculation = require_calculation

    def check(self, problem: Problem, sample: Sample) -> Verdict:
        if sample.finish_reason == "length":
            return unverifiable(self, sample, Reason.TRUNCATED, "the reply was cut")
        rationale = sample.rationale or ""
        if len(rationale) > MAX_CHARS:
            return unverifiable(self, sample, Reason.RESOURCE_LIMIT, f"rationale of {len(rationale)} characters")
        stated = calculations(rationale)
        for text, sides in stated:
            if any(abs(a.value - b.value) > max(a.rounding, b.rounding) for a, b in pairwise(sides)):
                return failed(self, sample, Reason.WRONG_STEP, f"{text!r} does not hold")
        answers = answered(sample.answer or "")
        if self.require_calculation and not any(side.value in answers for _, sides in stated for side in sides):
            return failed(self, sample, Reason.WRONG_STEP, "no calculation in the rationale gives the answer")
        return passed(self, sample)


def calculations(text: str) -> list[tuple[str, list[Side]]]:
    """Each `a + b = c` of a text, chains included; a side that cannot be read is left out."""
    found = []
    lines = COMMA.sub("", LABEL.sub("", plain(text))).split("\n")
    text = "\n".join(map(without_units, lines))
    for match in CALCULATION.finditer(text):
        written = match.group().strip(" $")
        parts = [part.strip(" $") for part in written.split("=")]
        start = match.end() - len(match.group().lstrip(" "))
        if CONTINUED.match(written) or MIDDLE.search(text[max(0, start - LOOK_BACK) : start + 1]):
            parts[0] = ""
        if len(parts) > 1 and any(OPERATION.search(part) for part in parts):
            sides = [side for part in parts if (side := read_side(part))]
            if len(sides) > 1:
                found.append((written, sides))
    return found


def answered(answer: str) -> set[Fraction]:
    """The numbers of an answer; one written as a fraction, a mixed number or a calculation by its value."""
    text = COMMA.sub("", plain(FRACTION.sub(r" \1/\2", answer)))
    found = set()
    for number in MIXED.finditer(text):
        whole, top, bottom = (int(part or 0) for part in number.group(1, 2, 3))
        if not number[2] or bottom:
            value = whole + Fraction(top, bottom) if bottom else Fraction(number[0])
            is_negative = NEGATIVE.search(text, max(0, number.start() - LOOK_BACK), number.start())
            found.add(-value if is_negative else value)
    side = read_side(text)
    return found | {side.value} if side else found


def without_units(line: str) -> str:
    """A line without the words behind its numbers, unless it has two measures, which may convert."""
    measures = {word.removesuffix("s") for word in WORD.findall(line.lower())} & MEASURES
    return line if len(measures) > 1 else UNIT.sub("", line)


def read_side(text: str) -> Side | None:
    try:
        value = evaluate_expression(TIMES.sub("*", text).replace("$", " "))
    except ValueError:
        return None
    _, point, decimals = text.partition(".")
    return Side(value, Fraction(1, 2 * 10 ** len(decimals)) if point and NUMBER.fullmatch(text) else Fraction(0))
