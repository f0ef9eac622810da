"""Are two expressions equal? Their values at a few points say so, much sooner than a proof, and never wrongly by luck.

Points are fixed, so that the same pair always has the same answer.
"""

import cmath
from enum import Enum, auto

from rdistill.verifiers import load_heavy

POINTS = (0.7391, 1.8273, 2.6417, -0.5839, -1.3127, 0.3019, -2.2371, 1213.6071, -1311.4183)
DIGITS, LEAST_POINTS, MAX_SYMBOLS, MAX_OPERATIONS = 30, 3, 30, 200
SURE_SAME, SURE_DIFFERENT, TINY = 1e-20, 2e-6, 1e-30
"""Differences, relative; the second is for a number that was rounded to six digits or more. TINY: no larger than 0."""


class Agreement(Enum):
    SAME = auto()
    DIFFERENT = auto()
    UNKNOWN = auto()


def same_value(gold, answer) -> Agreement:  # type: ignore[no-untyped-def]
    """Compare two sympy expressions, where all that stands under their roots and logarithms is positive if there are
    enough such points: sqrt(1/x) is 1/sqrt(x), but sqrt(x^2) is not x.

    UNKNOWN: not expressions, too few points where both have a value, a rounded number, or equal for positive values of
    the symbols only.
    """
    if not are_plain(gold, answer):
        return Agreement.UNKNOWN
    names = _names(gold, answer)
    num_same, doubt = 0, False
    for trial in _trials(names, gold, answer):
        value, difference = (_value(expression, names, trial) for expression in (gold, gold - answer))
        if value is None or difference is None:
            continue
        size = max(abs(value), TINY)
        if abs(difference) <= SURE_SAME * (size if names else min(1, size)):  # 2^99 is not 2^99 - 1
            num_same += 1
        elif _is_rounded(gold, answer) and abs(difference) < SURE_DIFFERENT * max(1, abs(value)):
            return Agreement.UNKNOWN
        elif all(p > 0 for p in _point(names, trial)):
            return Agreement.DIFFERENT
        else:
            doubt = True
    return Agreement.UNKNOWN if doubt or num_same < (LEAST_POINTS if names else 1) else Agreement.SAME


def _trials(names, *expressions) -> list[int]:  # type: ignore[no-untyped-def]
    """The points to try: those where every root and logarithm is real, or all if those are too few."""
    sympy = load_heavy("sympy")
    every = list(range(len(POINTS) if names else 1))
    found = set().union(*(e.atoms(sympy.Pow, sympy.log) for e in expressions))
    inside = [p.args[0] for p in found if p.free_symbols and not (p.is_Pow and p.exp.is_integer)]
    if not inside or any(e.has(sympy.I) for e in expressions):
        return every
    real = [t for t in every if all(_is_positive(_value(e, names, t)) for e in inside)]
    return real if len(real) >= LEAST_POINTS else every


def _is_positive(value) -> bool:  # type: ignore[no-untyped-def]
    return value is not None and bool(value.is_real) and value > 0


def _is_rounded(gold, answer) -> bool:  # type: ignore[no-untyped-def]
    """Whether a decimal of six digits or more stands in one: shorter ones have become fractions."""
    sympy = load_heavy("sympy")
    return gold.has(sympy.Float) or answer.has(sympy.Float)


def ratio(gold, answer):  # type: ignore[no-untyped-def]
    """What one expression in symbols is of another, where that is the same number everywhere; None where it is not."""
    if not are_plain(gold, answer) or not gold.free_symbols or gold.free_symbols != answer.free_symbols:
        return None
    names, found = _names(gold, answer), []
    for trial in range(len(POINTS)):
        values = [_value(expression, names, trial) for expression in (gold, answer)]
        if None in values:
            continue
        is_zero = [abs(value) <= SURE_DIFFERENT for value in values]
        if is_zero[0] is not is_zero[1]:
            return None
        if not is_zero[0]:
            found.append(values[0] / values[1])
    is_constant = all(abs(value - found[0]) <= SURE_SAME * abs(found[0]) for value in found)
    return found[0] if len(found) >= LEAST_POINTS and is_constant else None


def are_plain(*expressions) -> bool:  # type: ignore[no-untyped-def]
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
