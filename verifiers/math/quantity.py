"""Quantities and when two are the same: one number with its unit, or several that make one (5 feet 6 inches)."""

import re
from fractions import Fraction
from functools import lru_cache

from rdistill.verifiers.math.chinese import read_scaled
from rdistill.verifiers.math.number import MAX_CHARS, Quantity, parse_number
from rdistill.verifiers.math.units import factors, is_known_unit, unit_of

ROUNDING_DIGITS = 6
REPEATING = re.compile(
    r"(?P<sign>[-+]?)\s*(?P<whole>[0-9]*)\.(?P<once>[0-9]*)"
    r"(?:\\overline\s*\{(?P<r1>[0-9]+)\}|\((?P<r2>[0-9]+)\)|\\dot\s*\{?(?P<r3>[0-9])\}?)"
)
COMPOUND = re.compile(r"(?<=[A-Za-z])\s*(?:,|and)?\s+(?=[0-9])|\s+and\s+(?=[0-9])")
ATTACHED = re.compile(r"(?<=[0-9])(?=[A-Za-z])")
DECIMAL_COMMA = re.compile(r"€?\s*[0-9]{1,3}(?:\.[0-9]{3})*,[0-9]{2}\s*€?")
COMMA_AS_POINT = re.compile(r"([-+]?[0-9]+),([0-9]+(?:[^0-9,]*))")
INDIAN = re.compile(r"-?(?:₹|Rs\.?)? ?[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]+)?(?: [A-Za-z]+)?")
KILO = re.compile(r"([-+]?(?:US)?[$€£¥₹]?-?[0-9][0-9.,]*) ?k")
ROMAN = re.compile(r"M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})")
ROMAN_DIGITS = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
EXPLAINED = re.compile(r"([^()]*\S)\s*\(\s*(?:or\s+|=\s*)?([^()]+)\)")
OVER = re.compile(r"(.{1,30}) (?:over|out of|in) (.{1,30})")


def parse_quantity(text: str) -> Quantity | None:
    """Read cleaned text that is one quantity and nothing else; None if it is anything else."""
    return _parse(text) if len(text) <= MAX_CHARS else None


@lru_cache(maxsize=64)  # one check asks for the same number several times
def _parse(text: str) -> Quantity | None:
    if (found := parse_number(text)) is not None:
        return found
    if (scaled := read_scaled(text)) is not None:
        return Quantity(scaled)
    if not any(char.isdigit() for char in text):
        return _over(text)
    return _repeating(text) or _compound(text) or _bracketed(text) or _over(text)


def read_beside(text: str, other: Quantity | None) -> Quantity | None:
    """What is a number only beside another one: 2,5 beside 2.5, and 1,50,000, 5k, XIV; None for anything else."""
    if other is None:
        return None
    if other.decimals and (match := COMMA_AS_POINT.fullmatch(text)):
        return parse_quantity(f"{match[1]}.{match[2]}")
    if INDIAN.fullmatch(text):
        return parse_quantity(text.replace(",", ""))
    if match := KILO.fullmatch(text):
        found = parse_quantity(match[1])
        return found and found._replace(value=found.value * 1000, decimals=None)
    if len(text) > 1 and ROMAN.fullmatch(text) and other == Quantity(other.value):
        values = [ROMAN_DIGITS[letter] for letter in text]
        return Quantity(
            Fraction(sum(v if v >= after else -v for v, after in zip(values, [*values[1:], 0], strict=True)))
        )
    return None


def _repeating(text: str) -> Quantity | None:
    """0.1\\overline{6}, 0.1(6)."""
    match = REPEATING.fullmatch(text)
    if match is None:
        return None
    once, again = match["once"], match["r1"] or match["r2"] or match["r3"]
    value = Fraction(int((match["whole"] or "0") + once), 10 ** len(once))
    value += Fraction(int(again), 10 ** len(once) * (10 ** len(again) - 1))
    return Quantity(-value if match["sign"] == "-" else value)


def _compound(text: str) -> Quantity | None:
    """ "5 feet 6 inches", "1 hour and 30 minutes", "18 dollars and 50 cents", in the first unit."""
    parts = [parse_number(ATTACHED.sub(" ", part)) for part in COMPOUND.split(text)]
    first = parts[0]
    if not 1 < len(parts) <= 3 or first is None or first.value < 0 or unit_of(first.unit) is None:
        return None
    total, before = first.value, Fraction(1)
    for part in parts[1:]:
        scales = factors(first.unit, part.unit) if part is not None and is_known_unit(part.unit) else None
        if scales is None or part is None or part.value < 0 or scales[1] / scales[0] >= before:
            return None
        before = scales[1] / scales[0]
        total += part.value * before
    return Quantity(total, unit=first.unit)


def _bracketed(text: str) -> Quantity | None:
    """ "(12)", "45 (forty-five)", "3,75 €"."""
    if text[0] == "(" and text[-1] == ")" and not set("(),") & set(text[1:-1]):
        return parse_number(text[1:-1].strip())
    if match := EXPLAINED.fullmatch(text):
        value, again = parse_number(match[1]), parse_number(match[2].strip())
        return value if value is not None and again is not None and same_quantity(value, again) else None
    if "€" in text and DECIMAL_COMMA.fullmatch(text):
        return parse_number(text.replace(".", "").replace(",", "."))
    return None


def _over(text: str) -> Quantity | None:
    """ "2 over 5", "one in four": two whole numbers."""
    match = OVER.fullmatch(text)
    top, bottom = (parse_number(match[1]), parse_number(match[2])) if match else (None, None)
    if top is None or bottom is None or bottom.value <= 0 or any(q != Quantity(q.value) for q in (top, bottom)):
        return None
    is_whole = top.value.denominator == bottom.value.denominator == 1
    return Quantity(top.value / bottom.value) if is_whole else None


def same_quantity(gold: Quantity, answer: Quantity) -> bool:
    """Equal values in units that do not contradict each other."""
    scales = factors(gold.unit, answer.unit)
    if scales is None:
        return False
    if scales != (1, 1):
        gold, answer = gold._replace(value=gold.value * scales[0]), answer._replace(value=answer.value * scales[1])
    if gold.percent == answer.percent:
        return _near(gold, answer)
    if is_known_unit((answer if gold.percent else gold).unit):
        return False
    if _near(_hundredth(gold), _hundredth(answer)):
        return True
    percent = gold if gold.percent else answer
    return abs(percent.value) >= 1 and _near(gold, answer)  # "12" for "12%" is right, "0.5" for "0.5%" is not


def _hundredth(quantity: Quantity) -> Quantity:
    if not quantity.percent:
        return quantity
    decimals = None if quantity.decimals is None else quantity.decimals + 2
    return quantity._replace(value=quantity.value / 100, decimals=decimals)


def _near(gold: Quantity, answer: Quantity) -> bool:
    """Equal; or one is a decimal of six digits or more and the other rounds to it."""
    if gold.value == answer.value:
        return True
    decimals = [q.decimals for q in (gold, answer) if q.decimals is not None]
    if not decimals or max(decimals) < ROUNDING_DIGITS:
        return False
    places = min(d for d in decimals if d >= ROUNDING_DIGITS)
    return round(gold.value, places) == round(answer.value, places)
