"""The slow path: math-verify's grammar and sympy, for expressions that the exact path cannot decide.

Text never reaches sympify or parse_expr (they evaluate code); math-verify reads LaTeX by a grammar. Its own time-out
is an alarm signal that C code ignores, so it is off: the pool's SIGKILL is the limit.
"""

import logging
from dataclasses import replace
from functools import cache

from rdistill.verifiers.math.numeric import Agreement, are_plain, ratio, same_value
from rdistill.verifiers.math.spelling import expand_small, is_simple, mark_capitals, to_latex

from rdistill.verifiers import load_heavy

__all__ = ["expand_small", "is_equal", "is_simple", "parse_all"]


def is_equal(gold: str, answer: str) -> bool | None:
    """Whether two expressions or equations are equal; None if the answer cannot be read.

    Values at a few points decide; where they cannot, math-verify does. Nothing is printed: str() may hang.
    """
    math_verify = load_heavy("math_verify")
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns at each call that its alarm is off
    gold, answer = mark_capitals(to_latex(gold), to_latex(answer))
    if gold.count("=") == answer.count("=") == 1:
        sides = [_parse(math_verify, side) for text in (gold, answer) for side in text.split("=")]
        if None not in sides and (same := _same_equation(*sides)) is not None:
            return same
    parsed = [_parse(math_verify, text) for text in (gold, answer)]
    if parsed[0] is None or parsed[1] is None:
        return None if parsed[1] is None else False
    if any(_is_undefined(p) for p in parsed):
        return False
    if (agreement := same_value(*parsed)) is not Agreement.UNKNOWN:
        return agreement is Agreement.SAME
    return bool(math_verify.verify([parsed[0]], [parsed[1]], timeout_seconds=None, float_rounding=6))


def parse_all(texts: list[str]) -> list | None:  # type: ignore[type-arg]
    """sympy's scalar expressions for these texts; None unless all are that, and simple."""
    texts = [expand_small(text) for text in texts]
    if not all(is_simple(text) for text in texts):
        return None
    math_verify = load_heavy("math_verify")
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    found = [_parse(math_verify, text) for text in mark_capitals(*map(to_latex, texts))]
    return found if are_plain(*found) and not any(map(_is_undefined, found)) else None


def _same_equation(left, right, other_left, other_right) -> bool | None:  # type: ignore[no-untyped-def]
    """Equations are the same if their differences are proportional, and not if they are about different symbols."""
    if not are_plain(left, right, other_left, other_right):
        return None
    gold, answer = left - right, other_left - other_right
    if gold.free_symbols != answer.free_symbols:
        return False
    return True if ratio(gold, answer) is not None else None


def _parse(math_verify, text: str):  # type: ignore[no-untyped-def]
    """The sympy object of a LaTeX text, or None."""
    found = math_verify.parse(
        f"${text}$",
        extraction_config=[_latex_config(math_verify)],
        fallback_mode="no_fallback",
        parsing_timeout=None,
        raise_on_error=False,
    )
    value = next((f for f in found if not isinstance(f, str)), None)
    sympy = load_heavy("sympy")
    if not isinstance(value, sympy.Expr):
        return value
    # One symbol a name, whatever the grammar assumes of it in each place; i is the imaginary unit.
    return value.xreplace(
        {s: sympy.I if s.name == "i" else sympy.Symbol(s.name, real=True) for s in value.free_symbols}
    )


@cache
def _latex_config(math_verify):  # type: ignore[no-untyped-def]
    """Its LaTeX grammar, but a letter at the end is no unit: 5 - 2c is not 5 - 2."""
    config = math_verify.LatexExtractionConfig()
    return replace(config, normalization_config=replace(config.normalization_config, units=False))


def _is_undefined(value) -> bool:  # type: ignore[no-untyped-def]
    """NaN and complex infinity equal nothing."""
    sympy = load_heavy("sympy")
    return isinstance(value, sympy.Basic) and value.has(sympy.nan, sympy.zoo)
