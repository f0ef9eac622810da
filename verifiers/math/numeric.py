"""Are two expressions equal? Their values at a few points say so, much sooner than a proof, and never wrongly by luck.

Points are fixed, so that the same pair always has the same answer.
"""

import cmath
from enum import Enum, auto

from rdistill.verifiers import load_heavy

POINTS = (0.7391, 1.8273, 2.6417, -0.5839, -1.3127, 0.3019, -2.2371)
DIGITS, LEAST_POINTS, MAX_SYMBOLS, MAX_OPERATIONS = 30, 3, 30, 200
SURE_SAME, SURE_DIFFERENT = 1e-20, 2e-6
"""Differences; the second is relative, for a number that was rounded to six digits or more."""


class Agreement(Enum):
    SAME = auto()
    DIFFERENT = auto()
    UNKNOWN = auto()


def same_value(gold, answer) -> Agreement:  # type: ignore[no-untyped-def]
    """Compare two sympy expressions.

    UNKNOWN: not expressions, too few points where both have a value, a rounded number, or equal for positive values of
    the symbols only.
    """
    if not _are_plain(gold, answer):
        return Agreement.UNKNOWN
    names = _names(gold, answer)
    same, positive = [], []
    for trial in range(len(POINTS) if names else 1):
        value, difference = (_value(expression, names, trial) for expression in (gold, gold - answer))
        if value is not None and difference is not None:
            same.append(abs(difference) <= SURE_SAME * min(1, abs(value) or 1))
            positive.append(all(p > 0 for p in _point(names, trial)))
            if _is_rounded(gold, answer) and not same[-1] and abs(difference) < SURE_DIFFERENT * max(1, abs(value)):
                return Agreement.UNKNOWN
    if len(same) < (LEAST_POINTS if names else 1):
        return Agreement.UNKNOWN
    if all(same):
        return Agreement.SAME
    is_sure = not names or any(p and not s for p, s in zip(positive, same, strict=True))
    return Agreement.DIFFERENT if is_sure else Agreement.UNKNOWN


def _is_rounded(gold, answer) -> bool:  # type: ignore[no-untyped-def]
    """Whether a decimal of six digits or more stands in one: shorter ones have become fractions."""
    sympy = load_heavy("sympy")
    return gold.has(sympy.Float) or answer.has(sympy.Float)


def same_equation(left, right, other_left, other_right) -> Agreement:  # type: ignore[no-untyped-def]
    """Compare left = right with other_left = other_right: the same if their differences are proportional.

    UNKNOWN where they are not: x^2 = 4 and |x| = 2 have the same solutions.
    """
    if not _are_plain(left, right, other_left, other_right):
        return Agreement.UNKNOWN
    gold, answer = left - right, other_left - other_right
    names = _names(gold, answer)
    if not gold.free_symbols or gold.free_symbols != answer.free_symbols:
        return Agreement.UNKNOWN if gold.free_symbols == answer.free_symbols else Agreement.DIFFERENT
    ratios = []
    for trial in range(len(POINTS)):
        values = [_value(expression, names, trial) for expression in (gold, answer)]
        if None not in values and abs(values[0]) > SURE_DIFFERENT and abs(values[1]) > SURE_DIFFERENT:
            ratios.append(values[0] / values[1])
    if len(ratios) < LEAST_POINTS or any(abs(ratio - ratios[0]) > SURE_SAME * abs(ratios[0]) for ratio in ratios):
        return Agreement.UNKNOWN
    return Agreement.SAME


def _are_plain(*expressions) -> bool:  # type: ignore[no-untyped-def]
    """Whether these are small scalar expressions."""
    sympy = load_heavy("sympy")
    return (
        all(isinstance(e, sympy.Expr) and not e.is_Matrix and e.count_ops() <= MAX_OPERATIONS for e in expressions)
        and len(_names(*expressions)) <= MAX_SYMBOLS
    )


def _names(*expressions):  # type: ignore[no-untyped-def]
    return sorted(set().union(*(e.free_symbols for e in expressions)), key=lambda symbol: symbol.name)


def _point(names, trial: int) -> list[float]:  # type: ignore[no-untyped-def]
    """A value for each symbol; the first three trials are positive in every one."""
    if trial < LEAST_POINTS:
        return [POINTS[(trial + at) % LEAST_POINTS] + at // LEAST_POINTS for at in range(len(names))]
    return [POINTS[(trial + at) % len(POINTS)] + at // len(POINTS) for at in range(len(names))]


def _value(expression, names, trial: int):  # type: ignore[no-untyped-def]
    """The value of an expression at a point, or None where it has none that is finite."""
    sympy = load_heavy("sympy")
    at = {name: sympy.Rational(str(value)) for name, value in zip(names, _point(names, trial), strict=True)}
    try:
        value = expression.evalf(DIGITS, subs=at)
        if not cmath.isfinite(complex(value)):
            return None
        return value
    except (TypeError, ValueError, OverflowError, ArithmeticError, NotImplementedError, AttributeError):
        return None
