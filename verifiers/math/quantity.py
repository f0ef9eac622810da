"""Numbers as people and models write them, exact: -1,234.50  3/4  1 1/2  \\frac{1}{2}  $5  12%  3 km  2.5 million."""

import re
from fractions import Fraction
from typing import NamedTuple

from rdistill.verifiers.math.units import UNITS, factors, is_known_unit

MAX_DIGITS = 500
ROUNDING_DIGITS = 6

DIGITS = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
DECIMAL = rf"(?:{DIGITS}(?:\.[0-9]*)?|\.[0-9]+)"
SPACED = r"[0-9]{1,3}(?:[ ][0-9]{3})+(?![0-9])(?:\.[0-9]+)?"
QUANTITY = re.compile(
    rf"""(?P<sign>[-+])?\s*(?P<currency>US\$|\$|€|£|¥|₹)?\s*(?P<sign2>[-+])?\s*
    (?:
      (?:(?P<whole>{DIGITS})\s*(?:\sand\s|\s|(?=\\frac)))?\s*
      (?: \\frac\s*(?:\{{\s*(?P<n1>-?{DECIMAL})\s*\}}|(?P<n2>[0-9]))\s*(?:\{{\s*(?P<d1>{DECIMAL})\s*\}}|(?P<d2>[0-9]))
        | (?P<n3>{DECIMAL})\s*/\s*(?P<d3>{DECIMAL}) )
    | (?P<number>{SPACED}|{DECIMAL})
        (?:[eE](?P<exp>[-+]?[0-9]{{1,3}})(?![0-9]))?
    )
    (?:\s*(?:\\times|\\cdot|\*|x)\s*10\s*(?:\^|\*\*)\s*
        (?:\{{\s*(?P<ten1>[-+]?[0-9]{{1,3}})\s*\}}|(?P<ten2>[-+]?[0-9]{{1,3}})))?
    (?P<space>\s*)(?P<rest>.*)""",
    re.VERBOSE | re.DOTALL,
)
UNIT = re.compile(
    r"(?:[A-Za-z]+(?:\^\{?-?[0-9]\}?|[23](?![0-9]))?)(?:[ ./'-]+[A-Za-z]+(?:\^\{?-?[0-9]\}?|[23](?![0-9]))?)*\.?"
)
PERCENT = re.compile(r"(?:%|percent(?:age)?\b|pct\b|per cent\b)\s*(?:points?\b)?\s*")
MAX_REST = 80
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
NOT_UNIT_WORDS = """
or and to plus minus times than not over wrong incorrect no mod pi i e sin cos tan ln log exp sqrt if but
"""
NOT_UNITS = frozenset(NOT_UNIT_WORDS.split())
TO_TWENTY = """
zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
nineteen twenty
"""
WORD_NUMBERS = {word: n for n, word in enumerate(TO_TWENTY.split())}
WORD_NUMBERS |= {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}


class Quantity(NamedTuple):
    """`value` is exact; `decimals` counts the digits after the point (None for integers and fractions)."""

    value: Fraction
    percent: bool = False
    unit: str = ""
    decimals: int | None = None


def parse_quantity(text: str) -> Quantity | None:
    """Read cleaned text that is one number and nothing but its unit; None if it is anything else."""
    if len(text) > MAX_DIGITS:
        return None
    lower = text.lower()
    for word in ("negative ", "minus "):
        if lower.startswith(word):
            return (
                parse_quantity("-" + text[len(word) :].lstrip()) if text[len(word) :].lstrip()[:1] not in "-+" else None
            )
    match = QUANTITY.fullmatch(text)
    if match is None or (match["sign"] and match["sign2"]):
        return _parse_words(lower)
    rest, spaced = match["rest"], bool(match["space"])
    percent = bool(rest) and (found := PERCENT.match(rest)) is not None
    if percent:
        rest, spaced = rest[found.end() :], True  # type: ignore[union-attr]
    unit = _parse_unit(rest, spaced, match["currency"])
    if unit is None:
        return None
    value = _value(match)
    return None if value is None else Quantity(value * unit[1], percent, unit[0], _decimals(match))


def _value(match: re.Match[str]) -> Fraction | None:
    top, bottom = match["n1"] or match["n2"] or match["n3"], match["d1"] or match["d2"] or match["d3"]
    if top is None:
        value = _decimal(match["number"]) * Fraction(10) ** int(match["exp"] or 0)
    else:
        divisor = _decimal(bottom)
        if divisor == 0:
            return None
        value = _decimal(top) / divisor
        if match["whole"]:
            if value < 0 or value >= 1:
                return None
            value += _decimal(match["whole"])
    value *= Fraction(10) ** int(match["ten1"] or match["ten2"] or 0)
    return -value if "-" in (match["sign"], match["sign2"]) else value


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(",", "").replace(" ", "").rstrip(".") or "0")


def _decimals(match: re.Match[str]) -> int | None:
    number = match["number"]
    return len(number.partition(".")[2]) if number and "." in number else None


def _parse_unit(rest: str, spaced: bool, currency: str | None) -> tuple[str, Fraction] | None:
    """(unit, scale) of what follows a number; None if that is not a unit."""
    scale = Fraction(1)
    if rest:
        if len(rest) > MAX_REST or not UNIT.fullmatch(rest):
            return None
        words = [w.strip(".") for w in re.split(r"[ -]+", rest) if w.strip(".")]
        if words and words[0].lower() in SCALES:
            scale = Fraction(SCALES[words.pop(0).lower()])
            spaced = True
        if NOT_UNITS & {w.lower() for w in words} or any(
            len(w) == 1 and (w not in UNITS or not spaced) for w in words[:1]
        ):
            return None
        if any(len(w) == 1 and w not in UNITS and w not in "aA" for w in words[1:]):
            return None
        rest = " ".join(words)
    if currency:
        return currency.removeprefix("US"), scale
    return rest, scale


def _parse_words(lower: str) -> Quantity | None:
    """ "four", "twenty-one apples"."""
    words = lower.replace("-", " ").split()
    if not words or len(words) > 4 or words[0] not in WORD_NUMBERS:
        return None
    total = WORD_NUMBERS[words.pop(0)]
    if total >= 20 and words and 0 < WORD_NUMBERS.get(words[0], 0) < 10:
        total += WORD_NUMBERS[words.pop(0)]
    if any(w in WORD_NUMBERS for w in words):
        return None
    unit = _parse_unit(" ".join(words), True, None)
    return None if unit is None else Quantity(total * unit[1], unit=unit[0])


def same_quantity(gold: Quantity, answer: Quantity) -> bool:
    """Equal values in units that do not contradict each other."""
    scales = factors(gold.unit, answer.unit)
    if scales is None:
        return False
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
