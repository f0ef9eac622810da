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
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeGuard

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
    is_import: bool = False
    """Of something other than the solution."""


class NotLiteral(ValueError):
    """The expression is not made of literals."""


def plan_asserts(tests: str, entry_point: str) -> list[PlannedStep]:
    """Plan HumanEval's `def check(candidate): ...`, MBPP's bare asserts or pytest's `def test_x(): ...`.

    Raises ValueError if the tests are no Python or assert nothing.
    """
    if len(tests) > MAX_TEST_CHARS:
        raise ValueError(f"tests of {len(tests)} characters, at most {MAX_TEST_CHARS}")
    try:
        statements = _flatten(ast.parse(tests).body, entry_point)
        functions = _functions(statements)
        steps = [_plan(s, functions, entry_point) for s in statements if not _is_assert_true(s)]
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"tests are no Python: {error}") from None
    if not any(step.num_checks for step in steps):
        raise ValueError("tests assert nothing")
    return steps


def _flatten(body: list[ast.stmt], entry_point: str) -> list[ast.stmt]:
    """The statements in the order that they run: `if __name__ == "__main__":` holds, the body of `check` stands in its
    place with its argument bound to the solution, and what only pytest would call comes last."""
    body = [inner for statement in body for inner in (statement.body if _is_main(statement) else [statement])]
    body = [statement for statement in body if not _is_call_of(statement, "unittest.main")]
    calls = [statement for statement in body if _is_call_of(statement, "check")]
    inlined = {statement: _inlined(statement, entry_point) for statement in body if _is_check(statement)}
    others = (node for s in body if s not in calls for node in ast.walk(s))
    if not all(inlined.values()) or any(isinstance(node, ast.Name) and node.id == "check" for node in others):
        inlined = {}  # an ordinary function, called as it stands
    flat: list[ast.stmt] = []
    for statement in body:
        if statement in inlined:
            flat += inlined[statement]
        elif not inlined or statement not in calls:
            flat.append(statement)
    return flat + _uncalled_tests(flat, entry_point)


def _is_main(statement: ast.stmt) -> TypeGuard[ast.If]:
    return isinstance(statement, ast.If) and ast.unparse(statement.test) == "__name__ == '__main__'"


def _is_call_of(statement: ast.stmt, name: str) -> bool:
    call = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(call, ast.Call) and ast.unparse(call.func) == name


def _is_check(statement: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    """HumanEval's `def check(candidate)`."""
    if not isinstance(statement, ast.FunctionDef) or statement.name != "check":
        return False
    return len(list(ast.iter_child_nodes(statement.args))) == len(statement.args.args) == 1


def _inlined(check: ast.FunctionDef, entry_point: str) -> list[ast.stmt]:
    """The body of `check` for outside of it; empty where it may return before its end."""
    *body, last = check.body
    body.append(ast.Expr(last.value or ast.Constant(None)) if isinstance(last, ast.Return) else last)
    if any(isinstance(node, ast.Return | ast.Yield | ast.YieldFrom) for s in body for node in _run_nodes(s, {})):
        return []
    return [*ast.parse(f"{check.args.args[0].arg} = {entry_point}").body, *body]


def _uncalled_tests(statements: list[ast.stmt], entry_point: str) -> list[ast.stmt]:
    """What runs each `test_x()`, and a `check(candidate)`, that nothing calls."""
    functions = _functions(statements)
    called = {_called_name(node) for statement in statements for node in _run_nodes(statement, functions)}
    tests: list[ast.stmt] = []
    for name, function in functions.items():
        if name not in called and _is_check(function):
            tests += ast.parse(f"check({entry_point})").body
        elif name not in called and name.startswith("test_") and not any(ast.iter_child_nodes(function.args)):
            is_bare = all(isinstance(statement, ast.Assert) for statement in function.body)
            tests += function.body if is_bare else ast.parse(f"{name}()").body
    return tests


def _functions(statements: list[ast.stmt]) -> dict[str, ast.FunctionDef]:
    """The functions that run when they are called, by name: no coroutines, no generators."""
    found = [statement for statement in statements if isinstance(statement, ast.FunctionDef)]
    lazy = (ast.Yield, ast.YieldFrom)
    return {f.name: f for f in found if not any(isinstance(n, lazy) for s in f.body for n in _run_nodes(s, {}))}


def _run_nodes(statement: ast.stmt, functions: dict[str, ast.FunctionDef]) -> Iterator[ast.AST]:
    """The nodes that a statement may run: without what it only defines, with the functions that it calls by name."""
    todo: list[ast.AST] = [statement]
    left = dict(functions)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            todo += ast.iter_child_nodes(node)
        if function := left.pop(_called_name(node), None):
            todo += function.body


def _called_name(node: ast.AST) -> str:
    """`f` of a call `f(...)`; empty where the node is none."""
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""


def _is_assert_true(statement: ast.stmt) -> bool:
    """`assert True`, which checks nothing."""
    return isinstance(statement, ast.Assert) and is_literal(statement.test) and bool(literal(statement.test))


def _is_foreign_import(statement: ast.stmt, entry_point: str) -> bool:
    """An import of something other than the solution."""
    if not isinstance(statement, ast.Import | ast.ImportFrom):
        return False
    names = {alias.name for alias in statement.names} | {getattr(statement, "module", None)}
    return not names & {entry_point, "solution"}


def _plan(statement: ast.stmt, functions: dict[str, ast.FunctionDef], entry_point: str) -> PlannedStep:
    label = " ".join(ast.unparse(statement).split())[:120]
    lifted = _lift(statement.test) if isinstance(statement, ast.Assert) else None
    if lifted:
        return PlannedStep({"kind": "value", "code": ast.unparse(lifted[0])}, lifted[1], label, 1)
    num_asserts = sum(isinstance(node, ast.Assert) for node in _run_nodes(statement, functions))
    step = {"kind": "run", "code": ast.unparse(statement)}
    return PlannedStep(step, None, label, num_asserts, _is_foreign_import(statement, entry_point))


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
