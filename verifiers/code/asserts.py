"""Turn asserts into values to ask the sandbox for and judgements that stay in the parent.

    (planned,) = plan_asserts("assert add(2, 3) == 5", "add")
    planned.step     # {"kind": "value", "code": "add(2, 3)"}: all that the sandbox sees
    planned.judge    # is it 5?

Any assert is lifted that is a call of the solution within operators and wrappers that values.py knows; `a and b` are
two asserts. Any other runs in the sandbox, where a solution could cheat it. Nothing of the tests is ever executed here.
"""

import ast
import sys
from collections.abc import Iterator
from typing import NamedTuple, TypeGuard

from rdistill.verifiers.code.lifting import Judge, Lifted, Scope, bound_names, unknown_functions
from rdistill.verifiers.code.values import is_literal, literal

MAX_TEST_CHARS = 200_000


class PlannedStep(NamedTuple):
    """A step for the sandbox and the judge of its value; None where the sandbox runs the assert, or there is none.

    shaped: a second step and judge, which count where the value of the first is no plain data.
    is_inside: what is judged passed through more in the sandbox than the solution's own call.
    """

    step: dict[str, str]
    judge: Judge | None
    label: str
    num_checks: int
    is_import: bool = False
    """Of something other than the solution."""
    shaped: tuple[dict[str, str], Judge] | None = None
    is_inside: bool = False
    is_lenient: bool = False
    """What is no plain data may hold too: a Decimal that is rounded, a match that is true."""

    @property
    def steps(self) -> list[dict[str, str]]:
        """What the sandbox is asked for."""
        return [self.step, self.shaped[0]] if self.shaped else [self.step]


def plan_asserts(tests: str, entry_point: str) -> list[PlannedStep]:
    """Plan HumanEval's `def check(candidate): ...`, MBPP's bare asserts or pytest's `def test_x(): ...`.

    Raises ValueError if the tests are no Python or assert nothing.
    """
    if len(tests) > MAX_TEST_CHARS:
        raise ValueError(f"tests of {len(tests)} characters, at most {MAX_TEST_CHARS}")
    try:
        statements = _split(_flatten(ast.parse(tests).body, entry_point))
        steps = _plan_all([s for s in statements if not _is_assert_true(s)], entry_point)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"tests are no Python: {error}") from None
    if not any(step.num_checks for step in steps):
        raise ValueError("tests assert nothing")
    return steps


def called_of_solution(tests: str) -> str:
    """The one function that the asserts call and the tests do not define. Raises ValueError for none or several."""
    try:
        body = ast.parse(tests).body
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        raise ValueError(f"tests are no Python: {error}") from None
    statements = [s for s in body if not (isinstance(s, ast.ImportFrom) and _is_foreign_module(s))]
    unknown = unknown_functions(statements, {name for s in statements for name in bound_names(s)})
    found: set[str] = set()
    todo: list[ast.AST] = [node for s in statements for node in ast.walk(s) if isinstance(node, ast.Assert)]
    while todo:
        node = todo.pop()
        if (name := _called_name(node)) in unknown:
            found.add(name)  # what stands in its arguments is made for it
        else:
            todo += ast.iter_child_nodes(node)
    if len(found) != 1:
        named = f"several functions ({', '.join(sorted(found))[:80]})" if found else "no function of the solution"
        raise ValueError(f"gold.entry_point is missing, and the asserts call {named}; name it")
    return found.pop()


def _is_foreign_module(statement: ast.ImportFrom) -> bool:
    """`from my_solution import add`: of a module that is none of Python's."""
    return str(statement.module).partition(".")[0] not in sys.stdlib_module_names


def _is_import_of(statement: ast.stmt, entry_point: str) -> bool:
    """An import of the solution under whatever name its file had: it is there already."""
    if not isinstance(statement, ast.ImportFrom) or not _is_foreign_module(statement):
        return False
    return all(alias.name == entry_point and alias.asname in (None, entry_point) for alias in statement.names)


def _plan_all(statements: list[ast.stmt], entry_point: str) -> list[PlannedStep]:
    """A step for each statement that the sandbox needs, and for each assert."""
    functions = _functions(statements)
    scope = Scope.of(statements, entry_point)
    lifts = [scope.lift(s.test) if isinstance(s, ast.Assert) else None for s in statements]
    sent = _sent(statements, lifts, scope)
    names = {name for s, is_sent in zip(statements, sent, strict=True) if is_sent for name in bound_names(s)}
    steps = []
    for statement, lifted, is_sent in zip(statements, lifts, sent, strict=True):
        if lifted:
            steps.append(_lifted_step(statement, lifted, bool(lifted.constants & names)))
        elif is_sent:
            steps.append(_run_step(statement, functions, entry_point))
    return steps


def _sent(statements: list[ast.stmt], lifts: list[Lifted | None], scope: Scope) -> list[bool]:
    """Which statements enter the sandbox as they are: no lifted asserts, and no definition with expected values that
    nothing in the sandbox uses, as of a `test_x` whose asserts are lifted."""
    codes = [ast.parse(code) for found in lifts if found for code in (found.code, found.code_shaped) if code]
    sent = [lifted is None and not _is_optional(s, scope) for s, lifted in zip(statements, lifts, strict=True)]
    codes += [ast.Module([s], []) for s, is_sent in zip(statements, sent, strict=True) if is_sent]
    left = [place for place, lifted in enumerate(lifts) if not lifted and not sent[place]]
    needed: set[str] = set()
    while codes:
        needed |= {name for code in codes for name in _loaded(code)}
        found = [place for place in left if needed & set(bound_names(statements[place]))]
        codes = [ast.Module([statements[place]], []) for place in found]
        for place in found:
            sent[place] = True
            left.remove(place)
    return sent


def _is_optional(statement: ast.stmt, scope: Scope) -> bool:
    """A definition that may hold what is expected: of tests, of a helper that only compares, of a literal."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name in scope.constants
        case ast.FunctionDef(name=name) if name in scope.helpers:
            return True
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return any(isinstance(node, ast.Assert) for node in ast.walk(statement))
    return False


def _loaded(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}


def _split(statements: list[ast.stmt]) -> list[ast.stmt]:
    """`assert a and b` as two asserts."""
    flat: list[ast.stmt] = []
    for statement in statements:
        match statement:
            case ast.Assert(test=ast.BoolOp(op=ast.And(), values=parts)):
                flat += _split([ast.Assert(part, statement.msg) for part in parts])
            case _:
                flat.append(statement)
    return flat


def _flatten(body: list[ast.stmt], entry_point: str) -> list[ast.stmt]:
    """The statements in the order that they run: `if __name__ == "__main__":` holds, the body of `check` stands in its
    place with its argument bound to the solution, and what only pytest would call comes last."""
    body = [inner for statement in body for inner in (statement.body if _is_main(statement) else [statement])]
    body = [s for s in body if not (_is_call_of(s, "unittest.main") or _is_import_of(s, entry_point))]
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


def _run_step(statement: ast.stmt, functions: dict[str, ast.FunctionDef], entry_point: str) -> PlannedStep:
    num_asserts = sum(isinstance(node, ast.Assert) for node in _run_nodes(statement, functions))
    step = {"kind": "run", "code": ast.unparse(statement)}
    return PlannedStep(step, None, _label(statement), num_asserts, _is_foreign_import(statement, entry_point))


def _lifted_step(statement: ast.stmt, lifted: Lifted, is_known_inside: bool) -> PlannedStep:
    """is_known_inside: what is expected stands in a variable that the sandbox has too."""
    shaped = None
    if lifted.code_shaped and lifted.judge_shaped:
        shaped = {"kind": "value", "code": lifted.code_shaped}, lifted.judge_shaped
    step = {"kind": "value", "code": lifted.code}
    is_inside = lifted.is_inside or is_known_inside
    return PlannedStep(step, lifted.judge, _label(statement), 1, False, shaped, is_inside, lifted.is_lenient)


def _label(statement: ast.stmt) -> str:
    return " ".join(ast.unparse(statement).split())[:120]
