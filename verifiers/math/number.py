"""One number as people and models write it, exact: -1,234.50  3/4  1 1/2  \\frac{1}{2}  $5  12%  3 km  2.5 million."""

import re
from fractions import Fraction
from typing import NamedTuple

from rdistill.verifiers.math.number_words import SMALL, read_words
from rdistill.verifiers.math.units import UNITS

MAX_CHARS = 500

DIGITS = r"(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
DECIMAL = rf"(?:{DIGITS}(?:\.[0-9]*)?|\.[0-9]+)"
SPACED = r"[1-9][0-9]{0,2}(?:[ _'][0-9]{3})+(?![0-9])(?:\.[0-9]+)?"
QUANTITY = re.compile(
    rf"""(?P<sign>[-+])?\s*
    (?P<currency>(?:US|USD\ ?|A|C)?\$|[€£¥₹]|(?:USD|EUR|GBP|INR|Rs\.?)\ )?\s*(?P<sign2>[-+])?\s*
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
NO_SEPARATORS = str.maketrans("", "", ", _'")
SIGN_AFTER = "$€£¥₹¢"
CURRENCIES = {"USD": "$", "EUR": "€", "GBP": "£", "INR": "₹", "Rs": "₹", "Rs.": "₹"}
LETTER_SCALES = {"K": 1000, "M": 10**6, "B": 10**9}
SCALES = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
SCALES |= {f"{word}s": scale for word, scale in SCALES.items()}
SCALES |= {
    "mn": 10**6,
    "bn": 10**9,
    "tn": 10**12,
    "lakh": 10**5,
    "lakhs": 10**5,
    "lac": 10**5,
    "crore": 10**7,
    "crores": 10**7,
}
NOT_UNIT_WORDS = """
or and to plus minus times than not over wrong incorrect no mod pi i e sin cos tan ln log exp sqrt if but
least most probably ish isn wasn nicht pas kein
"""
NOT_UNITS = frozenset(NOT_UNIT_WORDS.split()) | SMALL.keys()


class Quantity(NamedTuple):
    """`value` is exact; `decimals` counts the digits after the point (None for integers and fractions)."""

    value: Fraction
    percent: bool = False
    unit: str = ""
    decimals: int | None = None


def parse_number(text: str) -> Quantity | None:
    """Read cleaned text that is one number and nothing but its unit; None if it is anything else."""
    if len(text) > MAX_CHARS:
        return None
    if text.isdigit() and text.isascii():
        return Quantity(Fraction(int(text)))
    lower = text.lower()
    for word in ("negative ", "minus "):
        if lower.startswith(word):
            rest = text[len(word) :].lstrip()
            positive = None if rest.lower().startswith(("-", "+", "minus", "negative")) else parse_number(rest)
            return positive and positive._replace(value=-positive.value)
    match = QUANTITY.fullmatch(text)
    if match is None or (match["sign"] and match["sign2"]):
        return _parse_words(text)
    rest, spaced = match["rest"], bool(match["space"])
    percent = bool(rest) and (found := PERCENT.match(rest)) is not None
    if percent:
        rest, spaced = rest[found.end() :], True  # type: ignore[union-attr]
    unit = _parse_unit(rest, spaced, match["currency"])
    if unit is None:
        return None
    value = _value(match)
    if value is None:
        return None
    return Quantity(value if unit[1] == 1 else value * unit[1], percent, unit[0], _decimals(match))


def _value(match: re.Match[str]) -> Fraction | None:
    top, bottom = match["n1"] or match["n2"] or match["n3"], match["d1"] or match["d2"] or match["d3"]
    if top is None:
        value = _decimal(match["number"])
        if match["exp"]:
            value *= Fraction(10) ** int(match["exp"])
    else:
        divisor = _decimal(bottom)
        if divisor == 0:
            return None
        value = _decimal(top) / divisor
        if match["whole"]:
            if value < 0 or value >= 1:
                return None
            value += _decimal(match["whole"])
    if power := match["ten1"] or match["ten2"]:
        value *= Fraction(10) ** int(power)
    return -value if "-" in (match["sign"], match["sign2"]) else value


def _decimal(text: str) -> Fraction:
    text = text.translate(NO_SEPARATORS).rstrip(".")
    return Fraction(int(text)) if text.isdigit() else Fraction(text or "0")


def _decimals(match: re.Match[str]) -> int | None:
    number = match["number"]
    return len(number.partition(".")[2]) if number and "." in number else None


def _parse_unit(rest: str, spaced: bool, currency: str | None) -> tuple[str, Fraction] | None:
    """(unit, scale) of what follows a number; None if that is not a unit."""
    scale = Fraction(1)
    if rest and rest[-1] in SIGN_AFTER and not currency:
        return (rest[-1], scale) if len(rest) == 1 else None
    if rest:
        if len(rest) > MAX_REST or not UNIT.fullmatch(rest):
            return None
        words = [w.strip(".") for w in re.split(r"[ '-]+", rest) if w.strip(".")]
        while words and words[0].lower() in SCALES:
            scale *= SCALES[words.pop(0).lower()]
            spaced = True
        if scale == 1 and words and not spaced and words[0] in LETTER_SCALES:
            scale = Fraction(LETTER_SCALES[words.pop(0)])
            spaced = True
        if NOT_UNITS & {w.lower() for w in words} or any(
            len(w) == 1 and (w not in UNITS or not spaced) for w in words[:1]
        ):
            return None
        if any(len(w) == 1 and w not in UNITS and w not in "aA" for w in words[1:]):
            return None
        rest = " ".join(words)
    if currency:
        return CURRENCIES.get(currency.strip(), currency[-1]), scale
    return rest, scale


def _parse_words(text: str) -> Quantity | None:
    """ "four", "twenty-one apples"."""
    found = read_words(text)
    unit = None if found is None else _parse_unit(found[1], True, None)
    return None if found is None or unit is None else Quantity(found[0] * unit[1], unit=unit[0])
