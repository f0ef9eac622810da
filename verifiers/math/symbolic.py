"""The slow path: math-verify and sympy, for expressions that the exact path cannot decide.

Text never reaches sympify or parse_expr (they evaluate code); math-verify reads LaTeX by a grammar. Its own time-out
is an alarm signal that C code ignores, so it is off: the pool's SIGKILL is the limit.
"""

import logging
import re

from rdistill.verifiers import load_heavy

MAX_CHARS, MAX_NESTING, MAX_DIGITS_IN_NUMBER, MAX_EXPONENT = 300, 12, 40, 500
DIGITS_COMPARED, SURE_DIFFERENCE = 20, 2e-6
# Commands that sympy may work on for ever, whatever their arguments.
HEAVY = re.compile(
    r"\\(?:int|sum|prod|lim|zeta|Gamma|gcd|binom|det|lfloor|lceil|bmod|pmod|mod|begin|input|write|boxed|cases)|!|\||d/dx|__"
)
SMALL = re.compile(r"(?<![0-9.)}!])[0-9]{1,2}!(?!!)|\\binom\s*\{[0-9]{1,2}\}\s*\{[0-9]{1,2}\}")
"""Factorials and binomials of two digits are quick."""
NUMBER = re.compile(r"[0-9]+")
ARGUMENT = re.compile(r"\\(sin|cos|tan|cot|sec|csc|ln|log)\s+([A-Za-z])(?![A-Za-z])")
"""Braced, or math-verify may take the letter for a unit and drop all that follows."""
PLAIN = re.compile(r"\b(sqrt|pi|sin|cos|tan|log|ln|exp)\b")


def is_simple(text: str) -> bool:
    """Whether an expression is short, shallow and without towers or commands that do not end."""
    if len(text) > MAX_CHARS or "--" in text or _nesting(text) > MAX_NESTING:
        return False
    if any(len(n) > MAX_DIGITS_IN_NUMBER for n in NUMBER.findall(text)):
        return False
    return not HEAVY.search(SMALL.sub("1", text)) and _small_exponents(text.replace("**", "^"))


def _nesting(text: str) -> int:
    depth = deepest = 0
    for char in text:
        depth += (char in "([{") - (char in ")]}")
        deepest = max(deepest, depth)
    return deepest


def _small_exponents(text: str) -> bool:
    """No power of a power, and no number above 500 in an exponent."""
    for at, char in enumerate(text):
        if char == "^":
            exponent = _exponent(text, at + 1)
            if "^" in exponent or any(int(n) > MAX_EXPONENT for n in NUMBER.findall(exponent)):
                return False
            if text[at + 1 + len(exponent) :].lstrip().startswith("^"):
                return False
    return True


def _exponent(text: str, start: int) -> str:
    """A braced or parenthesised group, or the run of digits or the one sign that stands there."""
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in "({") - (text[at] in ")}")
        if depth <= 0 and not (text[at].isdigit() or (at == start and text[at] in "-+ ")):
            return text[start : at + 1]
    return text[start:]


def to_latex(text: str) -> str:
    """sqrt(2)*pi as LaTeX."""
    text = text.replace("**", "^").replace("*", "\\cdot ")
    text = re.sub(r"(?<!\\)\bsqrt\s*\(([^()]*)\)", r"\\sqrt{\1}", text)
    text = re.sub(r"\^\(([^()]*)\)", r"^{\1}", text)
    text = PLAIN.sub(lambda m: m[0] if m.start() and m.string[m.start() - 1] == "\\" else f"\\{m[0]} ", text)
    return ARGUMENT.sub(r"\\\1{\2}", text)


def is_equal(gold: str, answer: str) -> bool | None:
    """Whether two expressions are equal; None if the answer cannot be read. Neither is printed: str() may hang."""
    math_verify = load_heavy("math_verify")
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns at each call that its alarm is off
    parsed = [_parse(math_verify, to_latex(text)) for text in (gold, answer)]
    if parsed[0] is None or parsed[1] is None:
        return None if parsed[1] is None else False
    if any(_is_undefined(p) for p in parsed) or _clearly_differ(*parsed):
        return False
    return bool(math_verify.verify([parsed[0]], [parsed[1]], timeout_seconds=None, float_rounding=6))


def _clearly_differ(gold, answer) -> bool:  # type: ignore[no-untyped-def]
    """Whether both are plain numbers that differ in twelve digits: much quicker than a proof."""
    sympy = load_heavy("sympy")
    if not all(isinstance(v, sympy.Expr) and not v.free_symbols for v in (gold, answer)):
        return False
    try:
        values = [complex(sympy.N(v, DIGITS_COMPARED)) for v in (gold, answer)]
    except (TypeError, ValueError, OverflowError):
        return False
    return abs(values[0] - values[1]) > SURE_DIFFERENCE * max(1.0, abs(values[0]))


def _parse(math_verify, text: str):  # type: ignore[no-untyped-def]
    """The sympy object of a LaTeX text, or None."""
    found = math_verify.parse(
        f"${text}$",
        extraction_config=[math_verify.LatexExtractionConfig()],
        fallback_mode="no_fallback",
        parsing_timeout=None,
        raise_on_error=False,
    )
    return next((f for f in found if not isinstance(f, str)), None)


def _is_undefined(value) -> bool:  # type: ignore[no-untyped-def]
    """NaN and complex infinity equal nothing."""
    sympy = load_heavy("sympy")
    return isinstance(value, sympy.Basic) and value.has(sympy.nan, sympy.zoo)
