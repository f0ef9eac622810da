"""The value of a tree of the small grammar at one point, computed with mpmath; a budget of steps bounds the time."""

from functools import cache
from typing import Any

from rdistill.verifiers.math.grammar import BINDERS, Node

from rdistill.verifiers import load_heavy

DIGITS, INTEGRAL_DIGITS, MAX_STEPS, MAX_TERMS, MAX_BITS = 80, 30, 40_000, 200, 20_000
SAME_INTEGRALS, TOO_SMALL = 1e-12, 1e-40
"""How sure an integral has to be, relative; and no factor is so small that it could be taken for a zero rounded."""
MAX_ARGUMENT = {
    "factorial": 1000,
    "gamma": 1000,
    "binomial": 1000,
    "ff": 1000,
    "root": 1000,
    "zeta": 50,
} | dict.fromkeys(("exp", "sinh", "cosh", "sech", "csch"), 5000)
MAX_OTHER_ARGUMENT = 1e15
OF_TWO = ("binomial", "ff", "root")


class NoValue(Exception):
    """Not defined, too large or too long to compute."""


def _size(value: Any) -> Any:
    return max(map(abs, value)) if isinstance(value, list) else abs(value)


@cache
def arithmetic():  # type: ignore[no-untyped-def]
    """mpmath with digits of its own: its global precision belongs to sympy."""
    context = load_heavy("mpmath").MPContext()
    context.dps = DIGITS
    return context


class Point:
    """Values at one point. `is_outside`: a root, logarithm or inverse function left the real numbers."""

    def __init__(self, known: dict[str, Any], steps: list[int] | None = None) -> None:
        self.context, self.known, self.is_outside, self.is_integrand = arithmetic(), known, False, False
        self.steps = steps if steps is not None else [MAX_STEPS]

    def value_or_none(self, node: Node) -> Any:
        try:
            return self.value(node)
        except NoValue:
            return None

    def value(self, node: Node) -> Any:
        """A number, or a list of them for a vector. Raises NoValue."""
        self.steps[0] -= 1
        if self.steps[0] <= 0:
            raise NoValue
        try:
            found = self._value(node)
        except (ArithmeticError, ValueError, TypeError, NotImplementedError) as error:
            raise NoValue from error
        if not isinstance(found, list) and (not self.context.isfinite(found) or self._bits(found) > MAX_BITS):
            raise NoValue
        is_factor = node[0] in "*/^" or node[1] in ("exp", "sech", "csch")
        if is_factor and 0 < _size(found) < TOO_SMALL and not self.is_integrand:
            raise NoValue
        return found

    def _value(self, node: Node) -> Any:
        kind = node[0]
        if kind == "number":
            return self.context.mpf(node[1])
        if kind == "name":
            return self._name(node[1])
        if kind == "group":
            return self.value(node[1])
        if kind == "vector":
            return [self.value(part) for part in node[1:]]
        if kind == "call":
            return self._call(node[1], [self.value(part) for part in node[2:]])
        if kind in BINDERS:
            return self._bound(*node)
        return self._operation(kind, self.value(node[1]), self.value(node[2]))

    def _name(self, name: str) -> Any:
        constants = {"pi": self.context.pi, "e": self.context.e, "i": self.context.j}
        found = self.known[name] if name in self.known else constants.get(name)
        if found is None:
            raise NoValue
        return found if isinstance(found, list) else self.context.mpmathify(found)

    def _operation(self, kind: str, a: Any, b: Any) -> Any:
        if isinstance(a, list) or isinstance(b, list):
            return self._vectors(kind, a, b)
        if kind == "^":
            if self.is_integrand and a == self.context.e and self.context.re(b) < -MAX_BITS / 4:
                return self.context.zero
            if abs(b) * max(1, abs(self._bits(a))) > MAX_BITS:
                raise NoValue
            self.is_outside |= not self.context.isint(b) and not (self.context.im(a) == 0 and self.context.re(a) >= 0)
            return a**b
        if kind == "mod":
            return a % b
        return {"+": a.__add__, "-": a.__sub__, "*": a.__mul__, "/": a.__truediv__}[kind](b)

    def _vectors(self, kind: str, a: Any, b: Any) -> list[Any]:
        if kind == "-" and a == 0:  # -v
            return [-item for item in b]
        if kind in "+-" and isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
            return [self._operation(kind, x, y) for x, y in zip(map(self.context.mpmathify, a), b, strict=True)]
        if kind == "*" and not (isinstance(a, list) and isinstance(b, list)):
            scale, items = (b, a) if isinstance(a, list) else (a, b)
            return [scale * item for item in items]
        if kind == "/" and not isinstance(b, list):
            return [item / b for item in a]
        raise NoValue

    def _call(self, function: str, arguments: list[Any]) -> Any:
        if function == "fabs" and len(arguments) == 1 and isinstance(arguments[0], list):
            return self.context.norm(arguments[0])
        if any(isinstance(a, list) or abs(a) > MAX_ARGUMENT.get(function, MAX_OTHER_ARGUMENT) for a in arguments):
            raise NoValue
        found = self._applied(function, arguments)
        self.is_outside |= all(self.context.im(a) == 0 for a in arguments) and self.context.im(found) != 0
        return found

    def _applied(self, function: str, arguments: list[Any]) -> Any:
        if function in ("min", "max"):
            return min(arguments) if function == "min" else max(arguments)
        if function == "log2" or (function == "ln" and len(arguments) == 2):
            return self.context.log(arguments[0], arguments[1] if function == "ln" else 2)
        if function == "mod" and len(arguments) == 2:
            return self.context.fmod(*arguments)
        if len(arguments) != (2 if function in OF_TWO else 1) or not hasattr(self.context, function):
            raise NoValue
        return getattr(self.context, function)(*arguments)

    def _bound(self, kind: str, name: str, low: Node, high: Node, body: Node) -> Any:
        """A sum, product or integral."""
        before = dict(self.known)

        def at(value: Any) -> Any:
            self.known = before | {name: value}
            return self.value(body)

        try:
            if kind == "int":
                return self._integral(at, self._limit(low), self._limit(high))
            first, last = self.value(low), self.value(high)
            if not (self.context.isint(first) and self.context.isint(last) and last - first < MAX_TERMS):
                raise NoValue
            terms = [at(n) for n in range(int(first), int(last) + 1)]
            return self.context.fsum(terms) if kind == "sum" else self.context.fprod(terms)
        finally:
            self.known = before

    def _limit(self, node: Node) -> Any:
        if node[0] == "group":
            return self._limit(node[1])
        if node == ("name", "infty"):
            return self.context.inf
        if node[0] == "-" and node[1:] == (("number", "0"), ("name", "infty")):
            return self.context.ninf
        return self.value(node)

    def _integral(self, function, low: Any, high: Any) -> Any:  # type: ignore[no-untyped-def]
        was, self.is_integrand = self.is_integrand, True
        with self.context.workdps(INTEGRAL_DIGITS):
            found, error = self.context.quad(function, [low, high], error=True, maxdegree=6)
        self.is_integrand = was
        if abs(error) > SAME_INTEGRALS / 100 * max(abs(found), SAME_INTEGRALS):
            raise NoValue
        return found

    def _bits(self, value: Any) -> int:
        return int(self.context.mag(value)) if value else 0
