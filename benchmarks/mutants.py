"""Wrong versions of a right solution, made on its syntax tree: one of each kind that the solution has room for.

mutants("def f(n): return n + 1", "f", random.Random(0))
# {"return_none": ..., "off_by_one": "def f(n): return n + 2", "wrong_operator": "def f(n): return n - 1"}
"""

import ast
import random
from collections.abc import Callable

OPERATORS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Lt: ast.GtE, ast.GtE: ast.Lt, ast.Gt: ast.LtE, ast.LtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def mutants(code: str, entry_point: str, dice: random.Random) -> dict[str, str]:
    """Mutant source by kind; a kind without a place in the code is left out."""
    kinds: dict[str, Callable[[ast.AST], bool]] = {
        "off_by_one": off_by_one,
        "swapped_branch": swap_branch,
        "wrong_operator": change_operator,
    }
    found = {}
    for kind, change in kinds.items():
        tree = ast.parse(code)
        nodes = list(ast.walk(tree))
        dice.shuffle(nodes)
        if any(change(node) for node in nodes):
            found[kind] = ast.unparse(tree)
    if none := return_none(code, entry_point):
        found["return_none"] = none
    return found


def return_none(code: str, entry_point: str) -> str | None:
    """The entry point does nothing; None where no function has its name."""
    tree = ast.parse(code)
    entries = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == entry_point]
    for entry in entries:
        entry.body = ast.parse("return None").body
    return ast.unparse(tree) if entries else None


def off_by_one(node: ast.AST) -> bool:
    """A whole number one larger."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        node.value += 1
        return True
    return False


def swap_branch(node: ast.AST) -> bool:
    """The branch that should not be taken."""
    if isinstance(node, ast.If | ast.IfExp):
        node.test = ast.UnaryOp(ast.Not(), node.test)
        return True
    return False


def change_operator(node: ast.AST) -> bool:
    """Another operator of its sort."""
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in OPERATORS:
        node.op = OPERATORS[type(node.op)]()  # type: ignore[assignment]
        return True
    if isinstance(node, ast.Compare) and type(node.ops[0]) in OPERATORS:
        node.ops[0] = OPERATORS[type(node.ops[0])]()  # type: ignore[call-overload]
        return True
    return False
