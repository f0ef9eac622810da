"""Find the solution among the fenced blocks of a reply. Nothing of it is executed here."""

import ast
import builtins
import re
from collections.abc import Iterator

from rdistill.verifiers.code.fences import fenced_blocks

MAX_CODE_CHARS = 100_000
PYTHON_TAGS = frozenset(("python", "py", "python3", "py3"))
OTHER_TAGS = frozenset(("bash", "sh", "shell", "zsh", "console", "text", "txt", "plaintext", "output"))


def extract_code(text: str, entry_point: str | None = None) -> str:
    """The code of a reply: of its fenced blocks the last that is a solution, or the whole text without fences.

    A solution defines the entry point, or imports it, or at least names it; without an entry point it is Python that
    calls something, or says that it is Python. Where no block is a solution, the last one counts.
    """
    blocks = [] if parse(text) else fenced_blocks(text)
    codes = [code for _, code in blocks]
    if len(codes) < 2:
        return (codes or [text])[0]
    if entry_point is None:
        programs = [code for tag, code in blocks if is_program(tag, code)]
        return with_needed((programs or codes)[-1], codes)
    naming = [code for code in codes if entry_point in code]
    makers = (code for is_it in (defines, imports) for code in reversed(naming) if is_it(code, entry_point))
    return with_needed(next(makers, (naming or codes)[-1]), codes)


def with_needed(code: str, codes: list[str]) -> str:
    """Code behind those of the blocks before it that define what it uses and has not: imports, a helper."""
    missing = _missing(code)
    for earlier in reversed(codes[: codes.index(code)] if missing else []):
        tree = parse(earlier)
        given = {name for statement in _top_level(tree) for name in _given(statement)} if tree else set()
        if missing & given:
            code = f"{earlier}\n\n{code}"
            missing = (missing - given) | _missing(earlier)
    return code


def _missing(code: str) -> set[str]:
    """The names that a program uses and sets nowhere."""
    nodes = list(ast.walk(parse(code) or ast.Module([], [])))
    used = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    named = {node.id for node in nodes if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    named |= {node.arg for node in nodes if isinstance(node, ast.arg)}
    return used - named - {name for node in nodes for name in _given(node)} - set(dir(builtins))


def _given(statement: ast.AST) -> set[str]:
    """The names that a statement defines or imports."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    return _defined(statement)


def parse(code: str) -> ast.Module | None:
    """The tree of a program; None where it is none, or too large."""
    if len(code) > MAX_CODE_CHARS:
        return None
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def is_program(tag: str, code: str) -> bool:
    """Whether a block says that it is Python, or is Python that calls something: an output such as `5` does not."""
    tree = None if tag in OTHER_TAGS else parse(code)
    if tag in PYTHON_TAGS:
        return tree is None or bool(tree.body)  # more than comments
    return tree is not None and any(isinstance(node, ast.Call) for node in ast.walk(tree))


def defines(code: str, name: str) -> bool:
    """Whether code defines a function, a class or a variable at its top level; not `f = f(2)`, which uses it."""
    tree = parse(code)
    if tree is None:
        pattern = rf"^(?:(?:async[ \t]+)?def|class)[ \t]+{name}\b|^{name}[ \t]*=(?!=)"
        return re.search(pattern, code, re.MULTILINE) is not None
    return any(name in _defined(statement) for statement in _top_level(tree))


def imports(code: str, name: str) -> bool:
    """Whether code imports something under a name: a solution such as `from math import gcd`."""
    tree = parse(code)
    return tree is not None and any(name in _given(s) - _defined(s) for s in _top_level(tree))


def _top_level(tree: ast.AST) -> Iterator[ast.AST]:
    """The statements of a program, also those within `if`, `try` and the like, but not of functions and classes."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            todo += ast.iter_child_nodes(node)


def _defined(statement: ast.AST) -> set[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Assign(targets=targets, value=value):
            return _names(targets, ast.Store) - _names([value], ast.Load)
        case ast.AnnAssign(target=target, value=ast.expr() as value):
            return _names([target], ast.Store) - _names([value], ast.Load)
    return set()


def _names(expressions: list[ast.expr], use: type[ast.expr_context]) -> set[str]:
    """The names that expressions set or use, but not those that a lambda in them uses when it is called."""
    found, todo = set(), list[ast.AST](expressions)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Name) and isinstance(node.ctx, use):
            found.add(node.id)
        elif not isinstance(node, ast.Lambda):
            todo += ast.iter_child_nodes(node)
    return found
