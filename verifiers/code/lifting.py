"""Part an assert of tests: what the sandbox is asked for, and what is judged here of the plain value it gives.

    lifted = Scope.of(statements, "f").lift(test)       # of `assert round(f(1) - 3.14, 2) == 0`
    lifted.code, lifted.judge(3.14)                     # ("f(1)", True)

The sandbox sees the solution's own call alone. Wrappers, arithmetic and comparisons are evaluated here (values.py), so
that no value of the solution's making meets what is expected of it. Where the tests wrap the call in what is not known
here, the wrapped value travels instead (`is_inside`): still nothing that it is compared with.
"""

import ast
import builtins
import copy
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

from rdistill.verifiers.code.values import PURE, evaluate, is_literal, is_readable

Judge = Callable[[Any], bool]
GOT = "_rdistill_got"
SHAPES = frozenset(
    ("list", "tuple", "set", "frozenset", "sorted", "dict", "sum", "len", "min", "max", "str", "repr")
)  # fmt: skip
"""Wrappers that a generator, or another object that is no plain data, may rightly meet."""
PLAIN_NAMES = frozenset(
    name for kind in (str, bytes, int, float, list, dict, set, tuple, complex) for name in dir(kind)
)
LOOPS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp, ast.Lambda)


class Lifted(NamedTuple):
    """An expression for the sandbox and the judge of its value.

    code_shaped: another one, of the value in its wrappers, for where the value itself is no plain data, with its judge.
    is_inside: what is asked for has passed through more than the solution's own call.
    """

    code: str
    judge: Judge
    code_shaped: str | None = None
    judge_shaped: Judge | None = None
    is_inside: bool = False
    constants: frozenset[str] = frozenset()
    """Variables of the tests whose values are used here."""
    is_lenient: bool = False
    """What is no plain data may hold too: a Decimal in `round(...)`, a match where only truth is asked for."""


class Scope(NamedTuple):
    """What the names of the tests stand for."""

    own: set[str]
    """Functions and classes of the solution."""
    held: set[str]
    """Variables that hold what the solution returned, or data that it may have changed."""
    constants: dict[str, ast.expr]
    """Variables that hold a literal that nothing can have changed."""
    helpers: dict[str, ast.FunctionDef]
    """Functions of the tests that only return an expression of their arguments."""
    bound: set[str]
    """All names that the tests bind, but for what they import from `math`."""

    @classmethod
    def of(cls, statements: list[ast.stmt], entry_point: str) -> "Scope":
        """Read the statements of the tests in the order that they run."""
        bindings = Counter(name for statement in statements for name in bound_names(statement))
        functions = [s for s in statements if isinstance(s, ast.FunctionDef) and bindings[s.name] == 1]
        scope = cls(set(), set(), {}, {f.name: f for f in functions if _is_expression(f)}, set(bindings))
        scope.own.update({entry_point} - set(bindings), unknown_functions(statements, set(bindings)))
        for statement in statements:
            scope._read(statement, bindings)
        busy = {name for statement in statements for name in _names_at_work(statement, scope)}
        for name in busy & set(scope.constants):
            if not _is_fixed(scope.constants[name]):
                del scope.constants[name]
                scope.held.add(name)
        return scope

    def _read(self, statement: ast.stmt, bindings: Counter[str]) -> None:
        """Note what one statement of the tests binds."""
        match statement:
            case ast.ImportFrom(module="solution", names=names):
                self.own.update(alias.asname or alias.name for alias in names)
            case ast.Import(names=names) if any(alias.name == "solution" for alias in names):
                self.held.update(alias.asname or alias.name for alias in names if alias.name == "solution")
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if bindings[name] == 1:
                if isinstance(value, ast.Name) and value.id in self.own:
                    self.own.add(name)
                elif is_literal(value):
                    self.constants[name] = value
                elif self.is_own(value):
                    self.held.add(name)

    def is_own(self, node: ast.AST) -> bool:
        """Whether a node is a call of the solution, a variable that holds one's result, or a part of either."""
        match node:
            case ast.Name(id=name):
                return name in self.held
            case ast.Attribute(value=value, attr=name):
                return name not in PLAIN_NAMES and self.is_own(value)
            case ast.Call(func=func, args=args, keywords=options):
                is_ours = func.id in self.own if isinstance(func, ast.Name) else self.is_own(func)
                return is_ours and not any(map(self._compares, [*args, *(option.value for option in options)]))
        return False

    def _compares(self, argument: ast.expr) -> bool:
        """Whether an argument compares what the solution gave with something."""
        found = (node for node in ast.walk(argument) if isinstance(node, ast.Compare))
        return any(self.is_own(inner) for node in found for inner in ast.walk(node))

    def lift(self, test: ast.expr) -> Lifted | None:
        """None where the expected value would have to go along, or nothing of the solution is asked."""
        parting = _Parting(self)
        rest = parting.visit(copy.deepcopy(test))
        asked = parting.asked.values()
        is_inside = len(asked) > 1 and any(isinstance(node, ast.Name) for node in asked)
        if parting.asked and not parting.is_refused and is_readable(rest, set(parting.asked)):
            shaping = _Shaping(parting)
            shaped = shaping.visit(copy.deepcopy(rest))
            used, is_lenient = frozenset(parting.constants), _is_truth(rest) or any(map(_is_rounded, ast.walk(rest)))
            if not shaping.is_needed:
                judge = _judge(rest, parting.asked)
                return Lifted(_row(parting.asked), judge, is_inside=is_inside, constants=used, is_lenient=is_lenient)
            named: dict[str, ast.expr] = {
                n: ast.NamedExpr(ast.Name(GOT + n[1:], ast.Store()), p) for n, p in parting.asked.items()
            }
            judges = _judge(rest, named), _judge(shaped, named)
            return Lifted(_row(named), judges[0], _row(shaping.asked), judges[1], is_inside, used, is_lenient)
        return _lift_side(_Renaming(self.constants).visit(copy.deepcopy(test)))

    def knows(self, node: ast.Name) -> bool:
        return node.id in PURE and node.id not in self.bound


class _Parting(ast.NodeTransformer):
    """Replace what the solution is asked for by the names `#0`, `#1`, and what is known of the tests by its value."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.asked: dict[str, ast.expr] = {}
        self.constants: set[str] = set()
        self.is_refused = False
        self.depth = 0

    def visit(self, node: ast.AST) -> Any:
        if isinstance(node, LOOPS):
            self.is_refused = True  # a call in it has no one value
            return node
        if isinstance(node, ast.expr) and self.scope.is_own(node):
            name = f"#{len(self.asked)}"
            self.is_refused |= any(isinstance(n, ast.Name) and n.id.startswith("#") for n in ast.walk(node))
            self.asked[name] = node
            return ast.Name(name, ast.Load())
        return super().visit(node)

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if value := self.scope.constants.get(node.id):
            self.constants.add(node.id)
            return value
        self.is_refused |= not (node.id.startswith("#") or self.scope.knows(node))
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        """What stands behind `or` may not run at all: it may ask for nothing that was not asked for before it."""
        first = self.visit(node.values[0])
        before = {ast.dump(asked) for asked in self.asked.values()}
        others = [self.visit(value) for value in node.values[1:]]
        self.is_refused |= any(ast.dump(asked) not in before for asked in self.asked.values())
        return ast.BoolOp(node.op, [first, *others])

    def visit_Call(self, node: ast.Call) -> ast.expr:
        helper = self.scope.helpers.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if helper and not node.keywords and len(node.args) == len(helper.args.args) and self.depth < 5:
            arguments = [self.visit(arg) for arg in node.args]
            named = dict(zip((arg.arg for arg in helper.args.args), arguments, strict=True))
            body = helper.body[-1]
            assert isinstance(body, ast.Return) and body.value
            self.depth += 1
            try:
                return self.visit(_Renaming(named).visit(copy.deepcopy(body.value)))  # type: ignore[no-any-return]
            finally:
                self.depth -= 1
        return self.generic_visit(node)  # type: ignore[return-value]


class _Renaming(ast.NodeTransformer):
    """Put a call's arguments in the place of a helper's parameters."""

    def __init__(self, arguments: dict[str, ast.expr]) -> None:
        self.arguments = arguments

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.arguments.get(node.id, node)


class _Shaping(ast.NodeTransformer):
    """Move wrappers such as `list(...)` and `[0]`, which carry nothing that is expected, to the sandbox's side."""

    def __init__(self, parting: _Parting) -> None:
        self.asked: dict[str, ast.expr] = {n: ast.Name(GOT + n[1:], ast.Load()) for n in parting.asked}
        self.is_needed = False

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        is_shape = isinstance(node.func, ast.Name) and node.func.id in SHAPES and len(node.args) == 1
        return self._moved(node, node.args[0]) if is_shape and not node.keywords else node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        return self._moved(node, node.value)

    def _moved(self, node: ast.expr, inner: ast.expr) -> ast.expr:
        others = [n for n in ast.walk(node) if isinstance(n, ast.Name) and n.id in self.asked and n is not inner]
        if not isinstance(inner, ast.Name) or inner.id not in self.asked or others:
            return node
        self.is_needed = True
        self.asked[inner.id] = _Renaming({inner.id: self.asked[inner.id]}).visit(copy.deepcopy(node))
        return inner


def _lift_side(test: ast.expr) -> Lifted | None:
    """`left == value` where something unknown is done to the solution's value: that is done in the sandbox."""
    if not isinstance(test, ast.Compare) or len(test.ops) != 1:
        return None
    left, right = test.left, test.comparators[0]
    turned = is_literal(left)
    (asked, value) = (right, left) if turned else (left, right)
    known = ast.Name("#0", ast.Load())
    rest = ast.Compare(value if turned else known, test.ops, [known if turned else value])
    if not is_literal(value) or is_literal(asked) or not is_readable(rest, {"#0"}):
        return None
    return Lifted(ast.unparse(asked), _judge(rest, {"#0": asked}), is_inside=True, is_lenient=True)


def _is_truth(rest: ast.expr) -> bool:
    """`assert f(1)` and `assert not f(1)`."""
    asked = rest.operand if isinstance(rest, ast.UnaryOp) and isinstance(rest.op, ast.Not) else rest
    return isinstance(asked, ast.Name)


def _is_rounded(node: ast.AST) -> bool:
    """`round(#0, 2)`, `float(#0)` and the like."""
    match node:
        case ast.Call(func=ast.Name(id="round" | "abs" | "int" | "float"), args=[ast.Name(id=name), *_]):
            return name.startswith("#")
    return False


def _row(asked: dict[str, ast.expr]) -> str:
    """The source of one expression, or of a tuple of them."""
    nodes = list(asked.values())
    whole = ast.Tuple(nodes, ast.Load()) if len(nodes) > 1 else nodes[0]
    return ast.unparse(ast.fix_missing_locations(whole))


def _judge(rest: ast.expr, asked: dict[str, Any]) -> Judge:
    names = list(asked)
    if len(names) == 1:
        return lambda value: bool(evaluate(rest, {names[0]: value}))
    return lambda row: bool(evaluate(rest, dict(zip(names, row, strict=True))))


def _is_fixed(node: ast.expr) -> bool:
    """Whether the value of a literal cannot be changed by who is given it."""
    return not any(isinstance(inner, ast.List | ast.Set | ast.Dict | ast.Call) for inner in ast.walk(node))


def _is_expression(function: ast.FunctionDef) -> bool:
    """`def same(a, b): return a == b`, with or without a docstring."""
    *before, last = function.body
    is_bare = all(isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant) for s in before)
    arguments = function.args
    is_plain = len(list(ast.iter_child_nodes(arguments))) == len(arguments.args) and not function.decorator_list
    return is_bare and is_plain and isinstance(last, ast.Return) and last.value is not None


def bound_names(statement: ast.AST) -> list[str]:
    """The names that a statement binds, also within functions; not those imported from `math` under their own name."""
    names: list[str] = []
    for node in ast.walk(statement):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                names.append(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.append(name)
            case ast.arg(arg=name):
                names.append(name)
            case ast.ImportFrom(module="math"):
                names += [alias.asname for alias in node.names if alias.asname]
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                names += [(a.asname or a.name).partition(".")[0] for a in aliases if a.asname or a.name != "math"]
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                names.append(name)
            case ast.Global(names=found) | ast.Nonlocal(names=found):
                names += found
    return names


def unknown_functions(statements: list[ast.stmt], bound: set[str]) -> set[str]:
    """The names that the tests call and neither bind nor have from Python: the solution's."""
    nodes = (node for statement in statements for node in ast.walk(statement))
    called = {node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    return called - bound - set(dir(builtins)) - PURE


def _names_at_work(statement: ast.stmt, scope: Scope) -> set[str]:
    """The names that the sandbox needs for a statement: all of it, or of an assert what the solution is asked."""
    match statement:
        case ast.Assign(targets=[ast.Name(id=name)]) if name in scope.constants:
            return set()
        case ast.Assert(test=test):
            parts = [node for node in ast.walk(test) if scope.is_own(node)]
        case _:
            parts = [statement]
    return {node.id for part in parts for node in ast.walk(part) if isinstance(node, ast.Name)}
