"""Turn asserts into values to ask the sandbox for and judgements that stay in the parent.

    (planned,) = plan_asserts("assert add(2, 3) == 5", "add")
    planned.step     # {"kind": "value", "code": "add(2, 3)"}: all that the sandbox sees
    planned.judge    # is it 5?

Lifted: `call == value`, `value == call`, `call is None`, `call`, `not call`, `abs(call - value) < tolerance` and
`math.isclose(call, value)`, where a value is made of literals. Any other assert runs in the sandbox, where a solution
could cheat it. Nothing of the tests is ever executed here.
"""

import ast
import math
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

MAX_TEST_CHARS, MAX_NUMBER_BITS, MAX_ITEMS = 200_000, 20_000, 10_000
Judge = Callable[[Any], bool]

_COMPARE = {ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le}
_ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
_MAKERS = {"set": set, "frozenset": frozenset, "tuple": tuple, "list": list, "dict": dict, "float": float}


class PlannedStep(NamedTuple):
    """A step for the sandbox and the judge of its value; None where the sandbox runs the assert, or there is none."""

    step: dict[str, str]
    judge: Judge | None
    label: str
    num_checks: int


class NotLiteral(ValueError):
    """The expression is not made of literals."""


def plan_asserts(tests: str, entry_point: str) -> list[PlannedStep]:
    """Plan HumanEval's `def check(candidate): ...` or MBPP's bare asserts.

    Raises ValueError if the tests are no Python or assert nothing.
    """
    if len(tests) > MAX_TEST_CHARS:
        raise ValueError(f"tests of {len(tests)} characters, at most {MAX_TEST_CHARS}")
    try:
        statements = _flatten(ast.parse(tests).body, entry_point)
        steps = [_plan(statement) for statement in statements if not _is_assert_true(statement)]
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"tests are no Python: {error}") from None
    if not any(step.num_checks for step in steps):
        raise ValueError("tests assert nothing")
    return steps


def _flatten(body: list[ast.stmt], entry_point: str) -> list[ast.stmt]:
    """The statements in the order that they run, the body of `check` with its argument bound to the solution."""
    flat: list[ast.stmt] = []
    for statement in body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "check" and len(statement.args.args) == 1:
            flat += ast.parse(f"{statement.args.args[0].arg} = {entry_point}").body
            flat += statement.body
        elif not _is_call_of(statement, "check"):
            flat.append(statement)
    return flat


def _is_call_of(statement: ast.stmt, name: str) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == name


def _is_assert_true(statement: ast.stmt) -> bool:
    """`assert True`, which checks nothing."""
    return isinstance(statement, ast.Assert) and is_literal(statement.test) and bool(literal(statement.test))


def _plan(statement: ast.stmt) -> PlannedStep:
    label = " ".join(ast.unparse(statement).split())[:120]
    lifted = _lift(statement.test) if isinstance(statement, ast.Assert) else None
    if lifted:
        return PlannedStep({"kind": "value", "code": ast.unparse(lifted[0])}, lifted[1], label, 1)
    num_asserts = sum(isinstance(node, ast.Assert) for node in ast.walk(statement))
    return PlannedStep({"kind": "run", "code": ast.unparse(statement)}, None, label, num_asserts)


def _lift(test: ast.expr) -> tuple[ast.expr, Judge] | None:
    """(expression for the sandbox, judge of its value), or None where the expected value would have to go along."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not) and isinstance(test.operand, ast.Call):
        return (test.operand, lambda value: not value) if _is_plain_call(test.operand) else None
    if isinstance(test, ast.Call):
        return _lift_isclose(test) or ((test, bool) if _is_plain_call(test) else None)
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return None
    left, op, right = test.left, test.ops[0], test.comparators[0]
    try:
        expected = literal(right)
    except NotLiteral:
        is_turned = isinstance(op, ast.Eq | ast.NotEq) and is_literal(left)
        return _lift(ast.Compare(right, [op], [left])) if is_turned else None
    if is_literal(left):
        return None
    if isinstance(op, ast.Eq | ast.NotEq):
        return left, lambda value: _COMPARE[type(op)](value, expected)
    if isinstance(op, ast.Is | ast.IsNot) and (expected is None or isinstance(expected, bool)):
        return left, lambda value: (value is expected) == isinstance(op, ast.Is)
    return _lift_distance(left, op, expected)


def _is_plain_call(call: ast.Call) -> bool:
    """A call of a name, other than all(...) or any(...), whose arguments would carry the expected value along."""
    return isinstance(call.func, ast.Name) and call.func.id not in ("all", "any", "isinstance", "callable", "check")


def _lift_distance(left: ast.expr, op: ast.cmpop, tolerance: Any) -> tuple[ast.expr, Judge] | None:
    """`abs(call - value) < tolerance`."""
    match left:
        case ast.Call(func=ast.Name(id="abs"), args=[ast.BinOp(left=call, op=ast.Sub(), right=value)], keywords=[]):
            call, value = (value, call) if is_literal(call) else (call, value)
            if type(op) in (ast.Lt, ast.LtE) and is_literal(value) and not is_literal(call):
                target, compare = literal(value), _COMPARE[type(op)]
                return call, lambda got: compare(abs(got - target), tolerance)
    return None


def _lift_isclose(test: ast.Call) -> tuple[ast.expr, Judge] | None:
    """`math.isclose(call, value, rel_tol=..., abs_tol=...)`."""
    if ast.unparse(test.func) not in ("math.isclose", "isclose") or len(test.args) != 2:
        return None
    (call, value), options = test.args, test.keywords
    if is_literal(call) or not is_literal(value) or not all(k.arg and is_literal(k.value) for k in options):
        return None
    target, tolerances = literal(value), {str(k.arg): literal(k.value) for k in options}
    return call, lambda got: math.isclose(got, target, **tolerances)


def is_literal(node: ast.expr) -> bool:
    """Whether `literal` has a value for it."""
    try:
        literal(node)
    except NotLiteral:
        return False
    return True


def literal(node: ast.expr) -> Any:
    """The value of an expression of literals, signs, small arithmetic and set(...) and the like. Raises NotLiteral."""
    try:
        return _literal(node)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise NotLiteral(str(error)) from None


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value) if value is not ...:
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            values = [_literal(item) for item in items]
            return {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)](values)
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {_literal(key): _literal(value) for key, value in zip(keys, values, strict=True) if key}
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_literal(operand)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return +_literal(operand)
        case ast.BinOp(left=left, op=op, right=right):
            return _arithmetic(op, _literal(left), _literal(right))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _MAKERS:
            return _MAKERS[name](*(_literal(arg) for arg in args))
    raise NotLiteral(ast.dump(node)[:40])


def _arithmetic(op: ast.operator, left: Any, right: Any) -> Any:
    """Numbers within a size, and a sequence times a small count."""
    numbers = (int, float, complex)
    if isinstance(op, ast.Pow) and type(left) is int and type(right) is int and 0 <= right <= 10_000:
        if left.bit_length() * right <= MAX_NUMBER_BITS:
            return left**right
    elif type(op) in _ARITHMETIC and type(left) in numbers and type(right) in numbers:
        if all(not isinstance(x, int) or x.bit_length() <= MAX_NUMBER_BITS // 2 for x in (left, right)):
            return _ARITHMETIC[type(op)](left, right)
    elif isinstance(op, ast.Mult) and type(left) in (list, str, tuple) and type(right) is int:
        if len(left) * right <= MAX_ITEMS:
            return left * right
    elif isinstance(op, ast.Add) and type(left) is type(right) and type(left) in (list, str, tuple):
        return left + right
    raise NotLiteral("arithmetic beyond the limits")
