"""Evaluate an expression of tests in this process, on plain values alone: literals, and what a solution returned.

    literal(ast.parse("[1, 2] * 2", mode="eval").body)                          # [1, 2, 1, 2]
    evaluate(ast.parse("len(x) == 2", mode="eval").body, {"x": [1, 2]})         # True

A short list of operators and of builtins that only read their arguments; nothing is looked up or executed.
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

MAX_NUMBER_BITS, MAX_ITEMS = 20_000, 10_000
MAX_VALUE_BITS = 1 << 21
WIDE = re.compile(r"\*|\d{4}")

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not, ast.In: lambda item, items: item in items,
    ast.NotIn: lambda item, items: item not in items,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.Pow: operator.pow, ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_, ast.BitXor: operator.xor,
}  # fmt: skip
_SIGNS: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_TYPES: dict[str, type] = {
    t.__name__: t for t in (bool, int, float, complex, str, bytes, list, tuple, set, frozenset, dict)
}
_OPTIONS = {"reverse", "default", "start", "ndigits", "key", "rel_tol", "abs_tol"}
_NUMBERS = {"math.pi": math.pi, "math.e": math.e, "math.inf": math.inf, "math.nan": math.nan}


class NotLiteral(ValueError):
    """The expression is not made of literals, known values and the operations above."""


class Undecided(Exception):
    """The operation is too large to be carried out."""


def is_literal(node: ast.expr) -> bool:
    """Whether `literal` has a value for it."""
    try:
        literal(node)
    except NotLiteral:
        return False
    return True


def literal(node: ast.expr) -> Any:
    """The value of an expression of literals. Raises NotLiteral, also where it is large or has no value."""
    try:
        return evaluate(node, {})
    except (TypeError, ValueError, ArithmeticError, LookupError, Undecided) as error:
        raise NotLiteral(str(error)) from None


def is_readable(node: ast.AST, names: set[str]) -> bool:
    """Whether `evaluate` knows every part of an expression, given values of these names."""
    match node:
        case ast.Constant(value=value):
            return value is not ...
        case ast.Name(id=name):
            return name in names or name in _TYPES
        case ast.List() | ast.Tuple() | ast.Set() | ast.Subscript() | ast.Slice() | ast.BoolOp():
            pass
        case ast.Dict(keys=keys) if None not in keys:
            pass
        case ast.UnaryOp(op=op) if type(op) in _SIGNS:
            pass
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
            pass
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = zip(ops, [left, *others], others, strict=False)
            if not all(_is_sure(a) or _is_sure(b) for op, a, b in sides if isinstance(op, ast.Is | ast.IsNot)):
                return False
        case ast.Call(func=func, args=args, keywords=options):
            is_known = _reader(func) is not None and all(option.arg in _OPTIONS for option in options)
            return is_known and all(is_readable(part, names) for part in (*args, *(o.value for o in options)))
        case _:
            return _number(node) is not None
    parts = (part for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr))
    return all(is_readable(part, names) for part in parts)


def _is_sure(node: ast.expr) -> bool:
    """Whether `is` has one meaning: for None, True, False and a type."""
    is_type = isinstance(node, ast.Name) and node.id in _TYPES
    return is_type or (isinstance(node, ast.Constant) and (node.value is None or type(node.value) is bool))


def evaluate(node: ast.expr, values: Mapping[str, Any]) -> Any:
    """The value of an expression. Raises NotLiteral for what `is_readable` refuses, Undecided for what is too large,
    and what Python raises where the operation has no value."""
    match node:
        case ast.Constant(value=value) if value is not ...:
            return value
        case ast.Name(id=name) if name in values or name in _TYPES:
            return values[name] if name in values else _TYPES[name]
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            made = [evaluate(item, values) for item in items]
            return made if isinstance(node, ast.List) else tuple(made) if isinstance(node, ast.Tuple) else set(made)
        case ast.Dict(keys=keys, values=items) if None not in keys:
            return {evaluate(k, values): evaluate(v, values) for k, v in zip(keys, items, strict=True) if k}
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _SIGNS:
            return _SIGNS[type(op)](evaluate(operand, values))
        case ast.BinOp(left=left, op=op, right=right):
            return _arithmetic(op, evaluate(left, values), evaluate(right, values))
        case ast.BoolOp(op=op, values=parts):
            return _connected(isinstance(op, ast.And), parts, values)
        case ast.Compare(left=left, ops=ops, comparators=others):
            return _compared(evaluate(left, values), ops, others, values)
        case ast.Subscript(value=items, slice=place):
            return evaluate(items, values)[_place(place, values)]
        case ast.Call(func=func, args=args, keywords=options) if reader := _reader(func):
            named = {str(option.arg): evaluate(option.value, values) for option in options if option.arg in _OPTIONS}
            if len(named) == len(options):
                return reader(*(evaluate(arg, values) for arg in args), **named)
    if (number := _number(node)) is not None:
        return number
    raise NotLiteral(ast.dump(node)[:40])


def _reader(func: ast.expr) -> Callable[..., Any] | None:
    """The builtin or function of `math` that a call names."""
    return _READERS.get(ast.unparse(func)) if isinstance(func, ast.Name | ast.Attribute) else None


def _number(node: ast.AST) -> float | None:
    return _NUMBERS.get(ast.unparse(node)) if isinstance(node, ast.Attribute) else None


def _place(place: ast.expr, values: Mapping[str, Any]) -> Any:
    if isinstance(place, ast.Slice):
        return slice(*(part and evaluate(part, values) for part in (place.lower, place.upper, place.step)))
    return evaluate(place, values)


def _connected(is_and: bool, parts: list[ast.expr], values: Mapping[str, Any]) -> Any:
    """`and` and `or`, which stop where Python stops."""
    value = None
    for part in parts:
        value = evaluate(part, values)
        if bool(value) is not is_and:
            break
    return value


def _compared(left: Any, ops: list[ast.cmpop], others: list[ast.expr], values: Mapping[str, Any]) -> Any:
    """`a < b < c`."""
    holds = True
    for op, other in zip(ops, others, strict=True):
        right = evaluate(other, values)
        holds = _COMPARE[type(op)](left, right)
        if not holds:
            break
        left = right
    return holds


def _arithmetic(op: ast.operator, left: Any, right: Any) -> Any:
    """What Python gives for plain values. Raises Undecided where that would be large."""
    if any(isinstance(x, int) and x.bit_length() > MAX_VALUE_BITS for x in (left, right)):
        raise Undecided("a number too large to calculate with")
    rows = [x for x in (left, right) if isinstance(x, list | str | tuple | bytes)]
    if rows and isinstance(op, ast.Mult):
        if any(isinstance(x, int) and x * len(rows[0]) > MAX_ITEMS for x in (left, right)):
            raise Undecided("too many items to multiply")
    elif isinstance(left, str) and isinstance(op, ast.Mod) and WIDE.search(left):
        raise Undecided("a width too large, or one that is a value")
    elif isinstance(op, ast.Pow) and _num_bits(left) * (right if isinstance(right, int) else 1) > MAX_NUMBER_BITS:
        raise Undecided("a power too large to calculate")
    return _ARITHMETIC[type(op)](left, right)


def _num_bits(number: Any) -> int:
    return number.bit_length() if isinstance(number, int) else 0


def _sum(values: Any, start: Any = 0) -> Any:
    if type(start) not in (int, float):
        raise Undecided("a sum of what is no number")
    return sum(values, start)


def _type_of(value: Any) -> type:
    return type(value)


def _range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > MAX_ITEMS:
        raise Undecided("a range of too many numbers")
    return numbers


_READERS: dict[str, Callable[..., Any]] = {
    **{f.__name__: f for f in (len, abs, round, min, max, sorted, any, all, repr, isinstance)},
    **{f"math.{f.__name__}": f for f in (math.isclose, math.isnan, math.isinf, math.fabs, math.floor, math.ceil)},
    **{name: kind for name, kind in _TYPES.items() if name not in ("complex", "bytes")},
    **{"isclose": math.isclose, "sum": _sum, "range": _range, "type": _type_of},
}
PURE = frozenset((*_TYPES, *_READERS, "math"))
"""The names that mean here what they mean in Python, unless tests bind them."""
